"""Resources that the hosted platform has and this carrier does not offer: said so, rather than not found."""

from __future__ import annotations

from bothway.carrier.api.parameters import ApiError

__all__ = [
    "UNOFFERED",
    "refuse_unoffered",
]

UNOFFERED = {
    "10dlc": "10DLC registration",
    "Brand": "10DLC registration",
    "Campaign": "10DLC registration",
    "ComplianceApplication": "compliance applications",
    "ComplianceDocument": "compliance documents",
    "ComplianceDocumentType": "compliance documents",
    "ComplianceRequirement": "compliance requirements",
    "EndUser": "compliance end users",
    "Endpoint": "SIP endpoints over REST",
    "JWT": "access tokens for browsers",
    "Lookup": "number lookup",
    "Masking": "number masking",
    "Media": "media of messages",
    "Message": "messages",
    "MultiPartyCall": "multi-party calls (a Conference joins up to 20 calls)",
    "Numberpool": "number pools",
    "Powerpack": "number pools",
    "Pricing": "price lists",
    "Profile": "10DLC registration",
    "TollfreeVerification": "toll-free verification",
    "Transcription": "transcriptions over REST",
    "Verification": "verification",
    "VerifiedCallerId": "verified caller ids",
    "Verify": "verification",
    "Zentrunk": "SIP trunks over REST",
}
"""The first word of their paths, and what it is."""

_PLACE = 4


def refuse_unoffered(path: str) -> None:
    """Say of a path that no operation has that its resource is not offered, if that is one.

    The status is 400, the one at which the official Python client shows the message for lists too. 404 would say that
    an id is wrong, and 5xx would make clients try again.

    Args:
        path: `/v1/Account/{auth_id}/…`.

    Raises:
        ApiError: It is one.
    """
    parts = path.split("/")
    what = UNOFFERED.get(parts[_PLACE]) if len(parts) > _PLACE else None
    if what is not None:
        raise ApiError(400, f"{parts[_PLACE]} is not offered here: this carrier has no {what}")
