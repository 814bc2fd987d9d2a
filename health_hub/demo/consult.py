"""A video consultation between the demo doctor, the demo patient and a nurse, on the day somebody tries it."""

from datetime import datetime, timedelta
from typing import Any

from health_hub.demo.people import ZONE

ID = "kham-tu-xa"
HOURS = 8
_PEOPLE = (
    ("Patient/bn-015", "Nguyễn Quang Hùng"), ("Practitioner/bs-01", "BS. Dương Công Bảo"), ("Practitioner/dd-01", "ĐD. Hoàng Thị Thu"),
    ("Location/bvdk-tinh", "Bệnh viện Đa khoa tỉnh"),
)  # fmt: skip


def appointment(now: int) -> dict[str, Any]:
    """now: seconds since 1970 UTC; it has begun at the last full quarter of an hour."""
    start = datetime.fromtimestamp(now - now % 900, ZONE)
    return {
        "resourceType": "Appointment", "id": ID, "status": "booked", "serviceType": [{"text": "Khám từ xa"}],
        "description": "Tái khám tăng huyết áp qua video", "start": start.isoformat(), "end": (start + timedelta(hours=HOURS)).isoformat(),
        "participant": [{"actor": {"reference": who, "display": name}, "status": "accepted"} for who, name in _PEOPLE],
    }  # fmt: skip
