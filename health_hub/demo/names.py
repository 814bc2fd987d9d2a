"""Vietnamese names as people of the province bear them (Kinh, Tày, Nùng, Dao, Sán Dìu), drawn by chance."""

import unicodedata
from random import Random
from typing import Any

FAMILY = (
    *("Nguyễn",) * 9, *("Trần",) * 4, *("Lê",) * 3, "Phạm", "Phạm", "Hoàng", "Hoàng", "Dương", "Dương", "Đặng", "Đỗ", "Vũ", "Bùi", "Ngô",
    "Lý", "Nông", "Ma", "Lường", "Hà", "Triệu", "Bàn", "Lục", "Trương", "Đinh", "Hứa",
)  # fmt: skip
MIDDLE = {
    "male": ("Văn", "Hữu", "Đức", "Minh", "Quang", "Xuân", "Đình", "Công"),
    "female": ("Thị", "Thị", "Thị Thu", "Thị Ngọc", "Thanh", "Ngọc", "Thùy", "Kim"),
}
GIVEN = {
    "male": ("Hùng", "Dũng", "Tuấn", "Hải", "Sơn", "Thắng", "Long", "Đạt", "Khôi", "Phúc", "Trường", "Bảo", "Hiếu", "Nghĩa", "Thành"),
    "female": ("Hoa", "Lan", "Hương", "Thảo", "Ánh", "Yến", "Hằng", "Nhung", "Trang", "Mai", "Diệu", "Oanh", "Phượng", "Quỳnh", "Vân"),
}
# For addresses of e-mail: every letter with marks to the one without.
DIACRITIC_FREE = {
    code: "".join(c for c in unicodedata.normalize("NFD", chr(code)) if not unicodedata.combining(c)).replace("đ", "d").replace("Đ", "D")
    for code in (*range(0xC0, 0x250), *range(0x1EA0, 0x1F00))
}


def person_name(random: Random, gender: str) -> dict[str, Any]:
    """A HumanName: family name first in `text`, middle and given names in `given`."""
    family, middle, given = random.choice(FAMILY), random.choice(MIDDLE[gender]), random.choice(GIVEN[gender])
    return {"use": "official", "text": f"{family} {middle} {given}", "family": family, "given": [*middle.split(), given]}
