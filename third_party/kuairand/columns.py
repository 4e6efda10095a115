"""The columns of KuaiRand's tables, in file order."""

import pyarrow as pa

EVENTS = (
    *("is_click", "is_like", "is_hate", "long_view", "is_follow", "is_comment", "is_forward"),
    "is_profile_enter",
)
"""Feedback of a user on a video that was shown, 0 or 1."""

LOG = {
    "user_id": pa.int64(),
    "video_id": pa.int64(),
    "date": pa.int64(),
    "hourmin": pa.int64(),
    "time_ms": pa.int64(),
    "is_click": pa.int64(),
    "is_like": pa.int64(),
    "is_follow": pa.int64(),
    "is_comment": pa.int64(),
    "is_forward": pa.int64(),
    "is_hate": pa.int64(),
    "long_view": pa.int64(),
    "play_time_ms": pa.int64(),
    "duration_ms": pa.int64(),
    "profile_stay_time": pa.int64(),
    "comment_stay_time": pa.int64(),
    "is_profile_enter": pa.int64(),
    "is_rand": pa.int64(),
    "tab": pa.int64(),
}
"""A log of the published set: a row is a video shown to a user."""

SAMPLE_LOG = {
    "user_id": pa.int64(),
    "video_id": pa.int64(),
    "date": pa.int64(),
    "hourmin": pa.int64(),
    "time_ms": pa.int64(),
    "is_click": pa.int64(),
    "is_follow": pa.int64(),
    "is_comment": pa.int64(),
    "is_forward": pa.int64(),
    "long_view": pa.int64(),
    "play_time_ms": pa.int64(),
    "duration_ms": pa.int64(),
    "comment_stay_time": pa.int64(),
    "is_profile_enter": pa.int64(),
    "label": pa.int64(),
    "timestamp": pa.string(),
}
"""The log of the sample; its `label` is 1 for a like and 0 for a hate, one of which every row has."""

ONE_HOT = tuple(f"onehot_feat{i}" for i in range(18))
"""Encrypted attributes of users; numbers 4 and 12 to 17 may be missing."""

USERS = {
    "user_id": pa.int64(),
    "user_active_degree": pa.string(),
    "is_lowactive_period": pa.int64(),
    "is_live_streamer": pa.int64(),
    "is_video_author": pa.int64(),
    "follow_user_num": pa.int64(),
    "follow_user_num_range": pa.string(),
    "fans_user_num": pa.int64(),
    "fans_user_num_range": pa.string(),
    "friend_user_num": pa.int64(),
    "friend_user_num_range": pa.string(),
    "register_days": pa.int64(),
    "register_days_range": pa.string(),
    **dict.fromkeys(ONE_HOT, pa.float32()),
}

VIDEOS = {
    "video_id": pa.int64(),
    "author_id": pa.int64(),
    "video_type": pa.string(),
    "upload_dt": pa.string(),
    "upload_type": pa.string(),
    "visible_status": pa.float32(),
    "video_duration": pa.float32(),
    "server_width": pa.float32(),
    "server_height": pa.float32(),
    "music_id": pa.string(),
    "music_type": pa.float32(),
    "tag": pa.string(),
}
"""Attributes of videos; `tag` holds one or more numbers with commas between them."""

OPTIONAL = (*ONE_HOT, *(name for name in VIDEOS if name not in ("video_id", "author_id")))
"""Columns of users and videos that may have empty cells."""
