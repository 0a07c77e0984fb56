"""Why a call ended: the codes, names and sources of a hang-up (plivo-protocol.md, 7.4)."""

from __future__ import annotations

from dataclasses import dataclass

from bothway.errors import UsageError

__all__ = ["HANGUP_CAUSES", "HANGUP_SOURCES", "HangupCause"]

HANGUP_CAUSES: dict[int, str] = {
    0: "Unknown",
    1000: "Canceled",
    1010: "Canceled (Out Of Credits)",
    1020: "Canceled (Simultaneous dial limit reached)",
    2000: "Invalid Destination Address",
    2010: "Destination Out Of Service",
    2020: "Endpoint Not Registered",
    2030: "Destination Country Barred",
    2040: "Destination Number Barred",
    2050: "Destination Prefix Barred",
    2060: "Loop Detected",
    2070: "Violates Media Anchoring",
    3000: "No Answer",
    3010: "Busy Line",
    3020: "Rejected",
    3030: "Unknown Caller ID",
    3040: "Forbidden",
    3050: "Unallocated number",
    3070: "Request timeout",
    3080: "Internal server error from carrier",
    3090: "Network congestion from carrier",
    3100: "Busy everywhere",
    3110: "Declined",
    3120: "User does not exist anywhere",
    3130: "Spam block",
    3140: "DNO Caller ID",
    4000: "Normal Hangup",
    4010: "End Of XML Instructions",
    4020: "Multiparty Call Ended",
    4030: "Kicked Out Of Multiparty Call",
    4240: "SIP auth failed",
    4250: "SIP auth timeout",
    5000: "Network Error",
    5010: "Internal Error",
    5020: "Routing Error",
    5030: "Concurrency Limit Breached",
    6000: "Scheduled Hangup",
    6010: "Ring Timeout Reached",
    6020: "Media Timeout",
    7011: "Error Reaching Answer URL",
    7012: "Error Reaching Action URL",
    7013: "Error Reaching Transfer URL",
    7014: "Error Reaching Redirect URL",
    7022: "Invalid Action URL",
    7023: "Invalid Transfer URL",
    7024: "Invalid Redirect URL",
    7032: "Invalid Method For Action URL",
    7033: "Invalid Method For Transfer URL",
    7034: "Invalid Method For Redirect URL",
    8011: "Invalid Answer XML",
    8012: "Invalid Action XML",
    8013: "Invalid Transfer XML",
    8014: "Invalid Redirect XML",
    9000: "Lost Race",
    9100: "Machine Detected",
    9110: "Confirm Key Challenge Failed",
}
"""Hang-up codes and their names (plivo-protocol.md, 7.4)."""

HANGUP_SOURCES = ("Caller", "Callee", "Plivo", "Carrier", "API Request", "Answer XML", "Error", "Unknown")
"""Who ended a call (plivo-protocol.md, 6.3)."""

_SWITCH_CAUSES = {
    1000: "ORIGINATOR_CANCEL",
    2000: "UNALLOCATED_NUMBER",
    2010: "NETWORK_OUT_OF_ORDER",
    2020: "USER_NOT_REGISTERED",
    3000: "NO_ANSWER",
    3010: "USER_BUSY",
    3020: "CALL_REJECTED",
    3040: "CALL_REJECTED",
    3050: "UNALLOCATED_NUMBER",
    3080: "NETWORK_OUT_OF_ORDER",
    3090: "NETWORK_OUT_OF_ORDER",
    3100: "USER_BUSY",
    3110: "CALL_REJECTED",
    3120: "UNALLOCATED_NUMBER",
    5000: "NETWORK_OUT_OF_ORDER",
    6010: "NO_ANSWER",
}


@dataclass(frozen=True)
class HangupCause:
    """Why a call ended.

    Attributes:
        code: A key of `HANGUP_CAUSES`, or whatever a carrier sent.
        name: Its name.
        source: Who ended the call: one of `HANGUP_SOURCES`.
        cause: The switch's own word, in FreeSWITCH's style: `NORMAL_CLEARING`, `USER_BUSY` ….
    """

    code: int
    name: str
    source: str
    cause: str

    @classmethod
    def of(cls, code: int, source: str, cause: str | None = None) -> HangupCause:
        """The cause with this code, its name, and the switch's word that goes with it unless one is given.

        Raises:
            UsageError: The code or the source is not in the tables.
        """
        if code not in HANGUP_CAUSES:
            raise UsageError(f"{code} is not a hang-up code (plivo-protocol.md, section 7.4)")
        if source not in HANGUP_SOURCES:
            raise UsageError(f"{source!r} cannot end a call; one of {', '.join(HANGUP_SOURCES)} can")
        return cls(code, HANGUP_CAUSES[code], source, cause or _SWITCH_CAUSES.get(code, "NORMAL_CLEARING"))
