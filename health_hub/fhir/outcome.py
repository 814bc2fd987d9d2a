"""Errors that become an OperationOutcome (R4 http.html#3.1.0.4, operationoutcome.html)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# What a person reads first, by issue type; `diagnostics` carries the English detail.
VIETNAMESE = {
    "invalid": "Nội dung không hợp lệ", "structure": "Cấu trúc không đúng FHIR R4", "required": "Thiếu phần tử bắt buộc",
    "value": "Giá trị không hợp lệ", "invariant": "Vi phạm quy tắc của FHIR", "security": "Không được phép",
    "login": "Cần đăng nhập", "unknown": "Không rõ", "expired": "Đã hết hạn", "forbidden": "Không được phép",
    "processing": "Không xử lý được", "not-supported": "Chưa hỗ trợ", "duplicate": "Trùng lặp",
    "multiple-matches": "Có nhiều bản ghi khớp", "not-found": "Không tìm thấy", "deleted": "Đã bị xoá",
    "too-long": "Nội dung quá dài", "code-invalid": "Mã không hợp lệ", "extension": "Phần mở rộng không hợp lệ",
    "too-costly": "Yêu cầu quá nặng", "business-rule": "Vi phạm quy tắc nghiệp vụ", "conflict": "Xung đột phiên bản",
    "transient": "Lỗi tạm thời, hãy thử lại", "timeout": "Quá thời gian", "incomplete": "Chưa đầy đủ",
    "throttled": "Quá nhiều yêu cầu", "exception": "Lỗi trong máy chủ", "lock-error": "Bản ghi đang bị khoá",
    "no-store": "Không lưu được", "informational": "Thông tin",
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem: `code` is an issue type (http://hl7.org/fhir/issue-type), `expression` FHIRPaths to the element."""

    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()
    severity: str = "error"

    def as_fhir(self) -> dict[str, Any]:
        out: dict[str, Any] = {"severity": self.severity, "code": self.code}
        if self.code in VIETNAMESE:
            out["details"] = {"text": VIETNAMESE[self.code]}
        out["diagnostics"] = self.diagnostics
        if self.expression:
            out["expression"] = list(self.expression)
        return out


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome naming every issue."""
    return {"resourceType": "OperationOutcome", "issue": [i.as_fhir() for i in issues]}


class FhirError(Exception):
    """A refusal with its HTTP status; every issue reaches the client."""

    def __init__(self, status: int, issues: "Issue | Sequence[Issue]", headers: Sequence[tuple[str, str]] = ()) -> None:
        self.status = status
        self.issues: tuple[Issue, ...] = (issues,) if isinstance(issues, Issue) else tuple(issues)
        self.headers = tuple(headers)
        super().__init__(f"{status}: " + "; ".join(i.diagnostics for i in self.issues[:3]))


def bad_request(diagnostics: str, code: str = "invalid", *expression: str) -> FhirError:
    return FhirError(400, Issue(code, diagnostics, expression))


def not_found(what: str) -> FhirError:
    return FhirError(404, Issue("not-found", f"{what} is not known"))
