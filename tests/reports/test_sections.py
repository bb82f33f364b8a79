"""What single sections say, from tables made here."""

import pandas as pd
import pytest

from reports import batches, fusion, lineage, model_card, validation
from reports.blocks import Bullets, Details, TableBlock, Text
from reports.content import RunReport


def tables(section):
    return [block.table for block in section.blocks if isinstance(block, TableBlock)]


def said(section):
    texts = [block.text for block in section.blocks if isinstance(block, Text)]
    return " ".join([*texts, *(t for b in section.blocks if isinstance(b, Bullets) for t in b.texts)])


def column(table, name):
    at = table.columns.index(name)
    return [row[at] for row in table.rows]


def test_validation_is_called_optimistic_in_every_caption_and_never_a_test(parts):
    section = validation.validation(RunReport(**parts))
    assert section.heading == "Validation, optimistic"
    made = tables(section)
    assert len(made) == 2
    for table in made:
        assert table.caption.startswith("Validation, optimistic:")
        assert "test" not in table.caption.lower()
        assert "Floor" in table.columns
    assert "Only the hold-out is a test." in said(section)


def test_folds_stand_one_by_one_with_sample_sd_floor_and_their_mean(parts):
    found = validation.fold_by_fold(parts["validation"])
    axial = found[found["Plane"] == "axial"]
    assert axial["Fold"].tolist() == ["1", "2 (chosen)", "mean of 2 folds"]
    assert axial["Slices"].tolist()[:2] == [200, 200]
    assert axial["Dice"].tolist() == pytest.approx([0.72, 0.74, 0.73])
    assert axial["Precision"].tolist() == pytest.approx([0.74, 0.76, 0.75])
    assert axial["Dice sd"].tolist()[:2] == [0.22, 0.22]
    assert axial["Floor"].tolist() == pytest.approx([0.51] * 3)
    one = parts["validation"][parts["validation"]["fold"] == 1]
    assert validation.fold_by_fold(one)["Fold"].tolist() == ["1"] * 3


def test_what_a_slice_mean_hides_is_beside_it(parts):
    found = validation.honest(parts["validation"])
    first = found.head(3)
    assert first["Counted"].tolist() == ["all slices, smoothed", "lesion slices", "subjects, 3-D"]
    assert first["Floor"].tolist() == [0.82, 0.0, 0.0]
    assert set(found["Pooled"]) == {0.83}


@pytest.mark.heavy
def test_slices_before_and_after_have_n_spread_gain_and_floor(parts):
    section = fusion.fusion(RunReport(**parts))
    lesion, everything = tables(section)
    assert "slices with lesion, unsmoothed" in lesion.caption
    assert column(lesion, "Floor")[:3] == ["0.000", "-", "-"]
    # Slices of 40, 9 and 90 voxels and two empty ones, smoothed by 1.
    expected = (1 / 41 + 1 / 10 + 1 / 91 + 1 + 1) / 5
    assert column(everything, "Floor")[0] == f"{expected:.3f}"
    assert column(everything, "Gain")[0] == "0.250"
    assert {*column(lesion, "n")} == {"18"}
    assert "Over 6 subjects, mean dice of axial is 0.050 lower" in said(section)


@pytest.mark.heavy
def test_batches_prove_that_every_lesion_slice_is_used(parts):
    section = batches.batches(RunReport(**parts))
    (table,) = tables(section)
    assert column(table, "Lesion slices") == column(table, "Used") == ["320"] * 3
    assert "exactly one batch" in said(section)
    lost = parts["batches"].assign(lesion_slices=330)
    assert "30 slices with lesion are in no batch." in said(
        batches.batches(RunReport(**parts | {"batches": lost}))
    )
    pairs = parts["batches"].assign(batch_size=2)
    assert "batches of two" in said(batches.batches(RunReport(**parts | {"batches": pairs})))
    assert "batches of two" not in said(section)


def test_the_model_card_says_use_data_limits_and_that_it_is_no_medical_device(parts):
    phantom = model_card.model_card(RunReport(**parts))
    text = said(phantom)
    assert "Not a medical device." in text
    assert "synthetic" in text
    low = parts["holdout"].query("prediction == 'fused' and dice < 0.5")
    assert f"{len(low)} of 6 hold-out subjects have a 3-D Dice below 0.5 (fused)." in text
    real = said(model_card.model_card(RunReport(**parts | {"phantom": False})))
    assert "Not a medical device." in real
    assert "synthetic" not in real
    (facts,) = tables(phantom)
    values = dict(facts.rows)
    assert values["network"] == "raxnet"
    assert values["parameters per plane"] == "4,837,473"
    dice = parts["scores"].query("prediction == 'fused' and score == 'dice'").iloc[0]
    assert f"mean 3-D Dice {dice['mean']:.3f}" in values["test"]


def test_the_model_card_of_an_empty_run_still_says_the_limits():
    text = said(model_card.model_card(RunReport("T", "S", phantom=False)))
    assert "Not a medical device." in text


def test_lineage_shows_every_fact_and_the_configuration(parts):
    section = lineage.lineage(RunReport(**parts))
    facts = {name: value for table in tables(section) for name, value in table.rows}
    assert facts["SHA-256 of the data set"] == "218ff565"
    assert facts["split.seed"] == "4"
    assert [block.text for block in section.blocks if block.kind == "code"] == ["folds: 3\n"]
    empty = lineage.lineage(RunReport("T", "S", phantom=False))
    assert "not recorded" in said(empty)


def test_details_hold_what_is_long(parts):
    from reports.background import anomalies, dataset

    section = dataset(RunReport(**parts))
    (details,) = [block for block in section.blocks if isinstance(block, Details)]
    assert details.summary == "Every finding (2)"
    checks = pd.DataFrame({"feature": ["image"] * 3, "problem": ["", "", ""]})
    section = anomalies(RunReport(**parts | {"anomalies": checks}))
    assert section.blocks[1].summary == "Every check (3)"
