"""The columns of MovieLens's tables, in file order, and the genres."""

import pyarrow as pa

RATINGS = {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float32(), "timestamp": pa.int64()}
MOVIES = {"movieId": pa.int64(), "title": pa.string(), "genres": pa.string()}
TAGS = {"userId": pa.int64(), "movieId": pa.int64(), "tag": pa.string(), "timestamp": pa.int64()}
USERS = {
    "userId": pa.int64(),
    "gender": pa.string(),
    "age": pa.int64(),
    "occupation": pa.int64(),
    "zip": pa.string(),
}
"""Only ml-1m has users; `age` is the lower end of a bracket."""

GENRES = (
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "IMAX", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
    "(no genres listed)",
)
"""As in the later editions; ml-1m writes `Children's` for `Children`."""
