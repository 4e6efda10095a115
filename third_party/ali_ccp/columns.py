"""The fields of Ali-CCP: which the published files hold, and the columns that are read from them."""

USER_FIELDS = (
    *("101", "121", "122", "124", "125", "126", "127", "128", "129"),
    *("109_14", "110_14", "127_14", "150_14"),
)
"""Fields of the common features: user id, profile codes, then categories, shops, brands and intentions of the
user's past behaviour."""

ROW_FIELDS = (
    *("205", "206", "207", "210", "216"),
    *("508", "509", "702", "853"),
    "301",
)
"""Fields of a row: item id, category, shop, intention, brand; the user's behaviour that shares the item's
category, shop, brand or intention; and the position (scene)."""

ROLES = {
    **dict.fromkeys(USER_FIELDS, "user"),
    **dict.fromkeys(("205", "206", "207", "210", "216"), "item"),
    **dict.fromkeys(("508", "509", "702", "853"), ""),
    "301": "context",
}
"""Role of each field; those of both user and item have none."""

USER_VALUES = ("109_14", "110_14", "127_14", "150_14")
ROW_VALUES = ("508", "509", "702", "853")
"""Fields whose features carry weights, which become the numeric columns D109_14, …."""

FIELDS = (*USER_FIELDS, *ROW_FIELDS)
NUMERIC = tuple(f"D{field}" for field in (*USER_VALUES, *ROW_VALUES))
LABELS = ("click", "purchase")
