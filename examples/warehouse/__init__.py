"""A second service, which hears of orders.

WAREHOUSE_NATS=nats://127.0.0.1:4222 diptych dev examples/warehouse/main.py --port 8002
"""
