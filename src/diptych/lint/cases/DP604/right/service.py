"""The one app."""

from diptych import App

app = App("sqlite:///orders.db")
