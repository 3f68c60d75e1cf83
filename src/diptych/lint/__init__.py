"""`diptych check`: the rules of the architecture, held against source code."""
