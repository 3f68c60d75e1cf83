import orders
from diptych import App

app = App("sqlite:///orders.db")
print(f"{orders.__name__} are served")
