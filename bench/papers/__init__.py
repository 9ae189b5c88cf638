"""The tables that papers print and the practice of their code, as data: one file per paper."""
