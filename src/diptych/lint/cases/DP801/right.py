import sqlite3
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI

from diptych import App
from diptych.web import install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


def notes() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect("notes.db")
    yield connection
    connection.commit()


@api.post("/notes", status_code=201)
def add_note(text: str, db: Annotated[sqlite3.Connection, Depends(notes, scope="function")]) -> None:
    db.execute("INSERT INTO note (text) VALUES (?)", (text,))
