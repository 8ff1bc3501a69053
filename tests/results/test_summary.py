"""The table that a command prints of one record."""

from __future__ import annotations

from ssl_bench.cli.running import summary
from ssl_bench.results.record import Metric

CHOSEN = "* chosen on the split that is reported"


def lines(record) -> list[str]:
    return summary(record).splitlines()


def test_repetitions_show_their_ends_in_place_of_an_interval(make_record):
    metric = Metric("mAP_k1", 46.0, "test", 4952, values=(45.0, 47.5, 45.5))
    single = Metric("top1_k3", 100.0, "val", 12)
    record = make_record(protocol="lowshot", dataset="voc07")
    record = type(record)(**{**record.__dict__, "metrics": (metric, single)})
    assert "| mAP_k1 | 46.00 | 45.00 to 47.50 over 3 samples | 4952 |" in lines(record)
    # 12 of 12: Wilson's lower end is 12 / (12 + 1.96 ** 2) = 75.75 %.
    assert "| top1_k3 | 100.00 | 75.75 to 100.00 | 12 |" in lines(record)


def test_a_mean_over_classes_has_no_interval(make_record):
    metrics = {"mAP": 50.0, "AP_aeroplane": 75.0, "mAP_fair": 50.0}
    record = make_record(metrics=metrics, protocol="svm", split="test", count=4952)
    assert "| mAP | 50.00 |  | 4952 |" in lines(record)
    assert "| AP_aeroplane | 75.00 |  | 4952 |" in lines(record)
    assert "| mAP_fair | 50.00 |  | 4952 |" in lines(record)
    assert CHOSEN not in lines(record)


def test_a_metric_of_another_unit_is_shown_through_it(make_record):
    record = make_record(protocol="svm", metrics={})
    layer = Metric("best_layer", 5.0, "test", 4952, unit="feature")
    record = type(record)(**{**record.__dict__, "metrics": (layer,)})
    assert "| best_layer | feature5 |  | 4952 |" in lines(record)


def test_what_was_chosen_on_the_reported_split_has_an_asterisk(make_record):
    record = make_record(protocol="lowshot", selection="cost on test")
    metrics = (
        Metric("mAP_k1", 46.0, "test", 4952),
        Metric("mAP_k1_heldout", 45.0, "test", 4952, selection="cost on trainval"),
    )
    chosen = type(record)(**{**record.__dict__, "metrics": metrics})
    found = lines(chosen)
    assert "| mAP_k1 | 46.00* |  | 4952 |" in found
    assert "| mAP_k1_heldout | 45.00 |  | 4952 |" in found
    assert found[-1] == CHOSEN
    assert found.count(CHOSEN) == 1
    own = (Metric("mAP", 46.0, "test", 4952, selection="layer on test"),)
    fields = {**record.__dict__, "metrics": own, "selection": "none"}
    assert "| mAP | 46.00* |  | 4952 |" in lines(type(record)(**fields))
