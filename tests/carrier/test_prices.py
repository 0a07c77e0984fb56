from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.source_tree import ROOT

from bothway.carrier.prices import FIGURES, PUBLISHED, Figure, PriceList, read_prices
from bothway.carrier.store.usage import Rounding
from bothway.errors import UsageError


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_figure_has_its_source_and_date() -> None:
    assert [prices.carrier for prices in PUBLISHED] == ["plivo", "twilio", "telnyx", "vonage", "exotel"]
    for prices in PUBLISHED:
        assert prices.rounding_source
        assert prices.voice_in is not None
        assert prices.voice_out is not None
        for name in FIGURES:
            figure: Figure | None = getattr(prices, name)
            if figure is not None:
                assert figure.source
                assert figure.date >= "2026"
                assert 0 <= figure.price < 2


def test_the_document_has_the_table() -> None:
    text = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    for prices in PUBLISHED:
        cells = [prices.carrier, prices.currency]
        for name in FIGURES:
            figure: Figure | None = getattr(prices, name)
            cells.append("?" if figure is None else f"{figure.price:f}")
        cells.append(f"{prices.rounding.first}/{prices.rounding.step} s")
        assert f"| {' | '.join(cells)} |" in text


def test_a_file_changes_lists_and_adds_others(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "plivo: {voice_in: 0.004, stream: {price: 0.003, source: our contract, date: 2026-02-01}, number: null}\n"
        "ours:\n  currency: EUR\n  country: DE\n  rounding: {first: 30, step: 6}\n  voice_out: '0.01'\n",
    )
    lists = {prices.carrier: prices for prices in read_prices(path)}
    assert list(lists) == ["plivo", "twilio", "telnyx", "vonage", "exotel", "ours"]
    plivo = lists["plivo"]
    assert plivo.voice_in == Figure(Decimal("0.004"))
    assert plivo.stream == Figure(Decimal("0.003"), "our contract", "2026-02-01")
    assert (plivo.number, plivo.voice_out) == (None, PUBLISHED[0].voice_out)
    assert lists["ours"] == PriceList(
        carrier="ours",
        currency="EUR",
        country="DE",
        rounding=Rounding(30, 6),
        voice_out=Figure(Decimal("0.01")),
    )
    assert lists["twilio"] == PUBLISHED[1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- plivo", "it has to name carriers"),
        ("plivo: 0.004", "it has to name carriers"),
        ("plivo: {voice: 1}", "prices.yaml: plivo: .*voice"),
        ("plivo: {voice_in: cheap}", r"plivo: .*voice_in"),
        ("plivo: {voice_in: -1}", "plivo: voice_in is no price"),
        ("plivo: {voice_in: .inf}", "plivo: .*voice_in"),
        ("plivo: {voice_in: true}", "plivo: .*voice_in"),
        ("plivo: {voice_in: 10000000}", "plivo: voice_in is no price"),
        ("plivo: {voice_in: {price: 1, date: yesterday}}", "plivo: .*date"),
        ("plivo: {currency: dollars}", "currency is not three capital letters"),
        ("plivo: {country: usa}", "country is not two capital letters"),
        ("plivo: {rounding: {first: 0}}", "a rounding is of whole seconds above zero"),
        ("plivo: {stream_rounding: {step: 100000}}", "a rounding is of whole seconds above zero"),
        ("a: [", "prices.yaml is not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_prices(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_prices(tmp_path / "nothing.yaml")
