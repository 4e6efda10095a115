"""The 12 columns of Hillstrom's e-mail test, in file order."""

import pyarrow as pa

COLUMNS = {
    "recency": pa.int32(),
    "history_segment": pa.string(),
    "history": pa.float32(),
    "mens": pa.int32(),
    "womens": pa.int32(),
    "zip_code": pa.string(),
    "newbie": pa.int32(),
    "channel": pa.string(),
    "segment": pa.string(),
    "visit": pa.int32(),
    "conversion": pa.int32(),
    "spend": pa.float32(),
}
"""Months since the last purchase, dollars spent in the past year and their bracket, whether men's and women's
merchandise was bought, kind of area, whether the customer is new, channels of purchase, the e-mail that was
sent (the treatment), and what happened in the two weeks after it."""

SEGMENTS = ("Mens E-Mail", "No E-Mail", "Womens E-Mail")
EVENTS = ("mens", "womens", "newbie", "visit", "conversion")
AMOUNTS = ("recency", "history", "spend")
