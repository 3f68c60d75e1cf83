from diptych import App
from orders import OrderRows

app = App("sqlite:///orders.db")
app.project(OrderRows)
