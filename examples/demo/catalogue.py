"""What the demonstration sells, and who comes in to buy it."""

from typing import Final

CATALOGUE: Final = (
    ("Teapot, round", "23.50"), ("Teapot, square", "26.00"), ("Mug, blue", "6.95"), ("Mug, green", "6.95"),
    ("Tea, Assam, 250 g", "8.40"), ("Tea, Darjeeling, 100 g", "11.20"), ("Honey, heather", "7.80"),
    ("Biscuits, ginger", "3.25"), ("Biscuits, oat", "2.95"), ("Cake stand", "34.00"), ("Tray, walnut", "48.00"),
    ("Spoon, silver", "19.75"), ("Tea towel, striped", "5.60"), ("Tea cosy, knitted", "17.30"), ("Kettle", "62.00"),
    ("Sugar bowl", "12.10"), ("Milk jug", "13.40"), ("Strainer", "4.20"), ("Tin, flowered", "9.90"),
    ("Samovar", "310.00"),
)  # fmt: skip
FIRST_NAMES: Final = (
    "Ada", "Alan", "Barbara", "Charles", "Donald", "Edsger", "Frances", "Grace",
    "Hedy", "Ida", "Joan", "Katherine", "Leslie", "Mary",
)  # fmt: skip
LAST_NAMES: Final = (
    "Ashby", "Birch", "Clark", "Dale", "Ember", "Field", "Grove",
    "Hale", "Ivory", "Jarvis", "Kent", "Lark", "Moss", "North", "Oakes",
)  # fmt: skip
CITIES: Final = (
    ("Leeds", "United Kingdom"),
    ("Cork", "Ireland"),
    ("Lyon", "France"),
    ("Turin", "Italy"),
    ("Basel", "Switzerland"),
)
