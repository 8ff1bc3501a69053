"""The k-NN search against loops, against scikit-learn, and by its properties."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ssl_bench.errors import FeatureError, UsageError
from ssl_bench.solvers import knn, knn_order
from tests.reference import knn as reference

BACKENDS = knn.available_backends()
METRICS = ("cosine", "euclidean")


def run(query: Any, bank: Any, k: int, metric: str, **changes: Any) -> knn.Neighbours:
    """Search with small chunks that divide nothing."""
    options: dict[str, Any] = {
        "backend": BACKENDS[0],
        "device": "cpu",
        "query_chunk": 11,
        "bank_chunk": 17,
        "leave_one_out": False,
    }
    return knn.search(query, bank, k, metric=metric, **{**options, **changes})


def gauss(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return rng.standard_normal((rows, dim)).astype(np.float32)


def after_relu(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return np.maximum(gauss(rng, rows, dim), 0) + np.float32(0.5)


def few_values(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Small integers, zero rows among them: many equal scores of unequal rows."""
    return rng.integers(-1, 2, (rows, dim)).astype(np.float32)


def copies(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Four different rows, in random order: every tie crosses k and chunk borders."""
    return np.random.default_rng(5).standard_normal((4, dim), np.float32)[
        rng.integers(0, 4, rows)
    ]


def constant(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return np.full((rows, dim), 0.37, np.float32)


def right_angles(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Multiples of few values in few places: similarities of 0, computed as 1e-17."""
    signs = rng.integers(-1, 2, (rows, dim)).astype(np.float32)
    return signs * rng.choice([0.1, 0.3, 0.7], (rows, 1)).astype(np.float32)


def far_away(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Close together and far from 0, where |q|^2 + |b|^2 - 2 q.b cancels."""
    return gauss(rng, rows, dim) * np.float32(1e-2) + np.float32(300)


MAKERS = (gauss, after_relu, few_values, copies, constant, right_angles, far_away)


def test_faiss_is_among_the_backends_here() -> None:
    assert BACKENDS == ("faiss", "torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (7, 1), (7, 5), (61, 3), (97, 40)])
def test_neighbours_equal_loops(
    make: Callable[..., np.ndarray], metric: str, backend: str, rows: int, dim: int
) -> None:
    rng = np.random.default_rng([rows, dim])
    bank, query = make(rng, rows, dim), make(rng, 13, dim)
    query[0] = bank[-1]
    for k in sorted({1, min(5, rows), min(50, rows), rows}):
        found = run(query, bank, k, metric, backend=backend)
        scores, indices = reference.neighbours(query, bank, k, metric)
        assert found.scores_QK.dtype == np.float32
        assert found.indices_QK.dtype == np.int64
        assert found.indices_QK.tolist() == indices
        np.testing.assert_allclose(found.scores_QK, scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", MAKERS)
def test_leave_one_out_equals_loops(
    make: Callable[..., np.ndarray], metric: str, backend: str
) -> None:
    bank = make(np.random.default_rng(3), 41, 6)
    for k in (1, 7, 40):
        found = run(bank, bank, k, metric, backend=backend, leave_one_out=True)
        _, indices = reference.neighbours(bank, bank, k, metric, leave_one_out=True)
        assert found.indices_QK.tolist() == indices
        assert not (found.indices_QK == np.arange(41)[:, None]).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_equal_scikit_learn(metric: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    bank, query = after_relu(rng, 700, 96), after_relu(rng, 60, 96)
    found = run(query, bank, 25, metric, backend=backend, bank_chunk=256)
    theirs = NearestNeighbors(n_neighbors=25, metric=metric, algorithm="brute")
    distances, indices = theirs.fit(bank.astype(np.float64)).kneighbors(
        query.astype(np.float64)
    )
    assert (found.indices_QK == indices).all()
    # scikit-learn gives 1 - cosine, and the distance rather than its square.
    ours = 1 - found.scores_QK if metric == "cosine" else np.sqrt(found.scores_QK)
    np.testing.assert_allclose(ours, distances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [7, 384, 2000])
def test_copies_anywhere_are_found_in_order(
    metric: str, backend: str, dim: int
) -> None:
    """The rest of a block goes through other kernels, which round otherwise."""
    rng = np.random.default_rng(dim)
    bank, query = after_relu(rng, 1003, dim), after_relu(rng, 50, dim)
    places = np.sort(rng.choice(1003, 12, replace=False))
    places[-1] = 1002
    bank[places] = query[0] + np.float32(0.01)
    found = run(query, bank, 9, metric, backend=backend, bank_chunk=350, query_chunk=50)
    assert found.indices_QK[0].tolist() == places[:9].tolist()
    assert len(set(found.scores_QK[0].tolist())) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_a_tie_larger_than_the_list_is_settled_for_its_queries_only(
    metric: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 copies of query 0 are more than k and the slack; no other sees them."""
    rng = np.random.default_rng(8)
    query = gauss(rng, 4, 24)
    bank = np.concatenate([gauss(rng, 200, 24), np.repeat(query[:1], 100, 0)])
    sizes = []
    exhaust = knn.exhaust

    def spy(geometry: Any, queries: Any, *rest: Any) -> Any:
        sizes.append(len(queries))
        return exhaust(geometry, queries, *rest)

    monkeypatch.setattr(knn, "exhaust", spy)
    found = run(query, bank, 5, metric, backend=backend)
    assert found.indices_QK[0].tolist() == [200, 201, 202, 203, 204]
    assert sizes == [1]


@pytest.mark.parametrize("bank_chunk", [17, 200])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_large_ties_with_each_left_out(
    metric: str, backend: str, bank_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 60 to 159 are alike and find each other, the first ones first."""
    monkeypatch.setattr(knn_order, "EXACT_BLOCK", 33)
    bank = gauss(np.random.default_rng(8), 200, 6)
    bank[60:160] = bank[60]
    found = run(
        bank,
        bank,
        5,
        metric,
        backend=backend,
        bank_chunk=bank_chunk,
        leave_one_out=True,
    )
    for row in range(60, 160):
        expected = [index for index in range(60, 66) if index != row][:5]
        assert found.indices_QK[row].tolist() == expected
    _, indices = reference.neighbours(bank, bank, 5, metric, leave_one_out=True)
    assert found.indices_QK.tolist() == indices


@pytest.mark.parametrize("backend", BACKENDS)
def test_almost_equal_is_not_equal(backend: str) -> None:
    """100 rows at a distance of one float32 step: small, but not 0."""
    bank = np.random.default_rng(8).uniform(1, 2, (200, 64)).astype(np.float32)
    bank[50:150] = bank[50]
    query = bank[50:51].copy()
    query[0, 0] = np.nextafter(query[0, 0], np.float32(9))
    found = run(query, bank, 5, "euclidean", backend=backend)
    assert found.indices_QK.tolist() == [[50, 51, 52, 53, 54]]
    # The step between 1 and 2 is 2**-23.
    assert found.scores_QK.tolist() == [[2.0**-46] * 5]


@pytest.mark.parametrize("backend", BACKENDS)
def test_features_far_from_zero_need_no_second_pass(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(knn, "exhaust")
    rng = np.random.default_rng(8)
    bank, query = far_away(rng, 200, 16), far_away(rng, 10, 16)
    found = run(query, bank, 5, "euclidean", backend=backend)
    _, indices = reference.neighbours(query, bank, 5, "euclidean")
    assert found.indices_QK.tolist() == indices


def test_distances_beyond_float32_are_an_error() -> None:
    bank = np.eye(4, dtype=np.float32)
    bank[2] *= np.float32(1e19)
    with pytest.raises(FeatureError, match=r"row \d of the bank .* lies .*divide"):
        run(bank[:1], bank, 2, "euclidean")
    assert run(bank[:1], bank, 1, "cosine").indices_QK.tolist() == [[0]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_constant_features_give_the_first_rows(metric: str, backend: str) -> None:
    bank = np.full((5000, 50), 0.37, np.float32)
    found = run(
        bank[:30] * 2, bank, 20, metric, backend=backend, bank_chunk=999, query_chunk=64
    )
    assert (found.indices_QK == np.arange(20)).all()
    # Euclidean: 50 dimensions, each (0.74 - 0.37)^2 = 0.1369 apart.
    expected = 1.0 if metric == "cosine" else 6.845
    np.testing.assert_allclose(found.scores_QK, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks_change_nothing(metric: str, backend: str) -> None:
    rng = np.random.default_rng(2)
    bank, query = few_values(rng, 101, 4), few_values(rng, 23, 4)
    expected = run(query, bank, 30, metric, bank_chunk=101, query_chunk=23)
    for size in (1, 10, 33, 100, 5000):
        found = run(
            query, bank, 30, metric, backend=backend, bank_chunk=size, query_chunk=size
        )
        assert (found.indices_QK == expected.indices_QK).all()
        np.testing.assert_allclose(found.scores_QK, expected.scores_QK, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_permuting_the_bank_permutes_the_indices(metric: str, backend: str) -> None:
    rng = np.random.default_rng(4)
    bank, query = gauss(rng, 211, 19), gauss(rng, 31, 19)
    order = rng.permutation(211)
    straight = run(query, bank, 12, metric, backend=backend)
    shuffled = run(query, bank[order], 12, metric, backend=backend)
    assert (order[shuffled.indices_QK] == straight.indices_QK).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_scaling_rows_leaves_cosine_alone_and_not_euclidean(backend: str) -> None:
    rng = np.random.default_rng(6)
    bank, query = gauss(rng, 211, 19), gauss(rng, 31, 19)
    lengths = rng.uniform(0.1, 10, (211, 1)).astype(np.float32)
    for metric, alike in (("cosine", True), ("euclidean", False)):
        plain = run(query, bank, 12, metric, backend=backend)
        scaled = run(query * 7, bank * lengths, 12, metric, backend=backend)
        assert (plain.indices_QK == scaled.indices_QK).all() == alike


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_row_of_the_bank_is_its_own_nearest(metric: str, backend: str) -> None:
    bank = after_relu(np.random.default_rng(7), 150, 64)
    found = run(bank, bank, 1, metric, backend=backend)
    assert (found.indices_QK[:, 0] == np.arange(150)).all()
    if metric == "cosine":
        np.testing.assert_allclose(found.scores_QK, 1, rtol=1e-6)
        assert (found.scores_QK <= 1).all()
    else:
        assert (found.scores_QK == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_row_is_similar_to_nothing(backend: str) -> None:
    """Cosine with (1, 0): 1, 0 for the zero row, 0 for (0, 1), -1."""
    bank = np.array([[-2, 0], [0, 3], [0, 0], [5, 0]], np.float32)
    query = np.array([[1, 0], [0, 0]], np.float32)
    found = run(query, bank, 4, "cosine", backend=backend)
    assert found.indices_QK.tolist() == [[3, 1, 2, 0], [0, 1, 2, 3]]
    assert found.scores_QK.tolist() == [[1, 0, 0, -1], [0, 0, 0, 0]]


@pytest.mark.parametrize("factor", [1e-15, 1e17])
@pytest.mark.parametrize("backend", BACKENDS)
def test_very_small_and_very_large_features(factor: float, backend: str) -> None:
    rng = np.random.default_rng(9)
    bank, query = gauss(rng, 90, 8), gauss(rng, 9, 8)
    for metric in METRICS:
        plain = run(query, bank, 6, metric, backend=backend)
        f = np.float32(factor)
        scaled = run(query * f, bank * f, 6, metric, backend=backend)
        assert (plain.indices_QK == scaled.indices_QK).all()


@pytest.mark.parametrize("metric", METRICS)
def test_a_read_only_memory_map_and_progress(metric: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    bank, query = gauss(rng, 90, 8), gauss(rng, 25, 8)
    np.save(tmp_path / "bank.npy", bank)
    steps: list[int] = []
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    found = run(query, mapped, 6, metric, progress=steps.append)
    assert (found.indices_QK == run(query, bank, 6, metric).indices_QK).all()
    # 3 chunks of queries, 6 of the bank.
    assert sum(steps) == 25
    assert min(steps) > 0
    assert len(steps) > 10


def test_torch_products_keep_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    topk = torch.topk

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(torch.get_float32_matmul_precision())
        return topk(*args, **options)

    monkeypatch.setattr(torch, "topk", spy)
    torch.set_float32_matmul_precision("medium")
    try:
        one = np.ones((1, 1), np.float32)
        run(one, one, 1, "cosine", backend="torch")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


def test_torch_stands_in_where_faiss_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert knn.default_backend("cpu") == "faiss"
    assert knn.default_backend("cuda:1") == "torch"
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert knn.available_backends() == ("torch",)
    assert knn.default_backend("cpu") == "torch"
    one = np.ones((1, 1), np.float32)
    assert run(one, one, 1, "cosine", backend="torch").indices_QK.tolist() == [[0]]
    with pytest.raises(UsageError, match=r"not installed.*ssl-bench\[cpu\].*'torch'"):
        run(one, one, 1, "cosine", backend="faiss")


def test_faiss_on_a_gpu_is_asked_for_its_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for the GPU build does the same search on the CPU."""
    import faiss

    devices = []

    def knn_gpu(
        resources: object, query: Any, rows: Any, k: int, *, metric: int, device: int
    ) -> Any:
        devices.append(device)
        return faiss.knn(query, rows, k, metric)

    stand_in = SimpleNamespace(
        METRIC_L2=faiss.METRIC_L2,
        METRIC_INNER_PRODUCT=faiss.METRIC_INNER_PRODUCT,
        StandardGpuResources=object,
        get_num_gpus=lambda: 2,
        knn_gpu=knn_gpu,
    )
    rng = np.random.default_rng(12)
    bank, query = gauss(rng, 30, 8), gauss(rng, 5, 8)
    expected = {metric: run(query, bank, 4, metric).indices_QK for metric in METRICS}
    monkeypatch.setitem(sys.modules, "faiss", stand_in)
    for metric in METRICS:
        found = run(query, bank, 4, metric, backend="faiss", device="cuda:1")
        assert (found.indices_QK == expected[metric]).all()
    assert set(devices) == {1}


def test_faiss_without_gpu_support_says_so() -> None:
    one = np.ones((1, 1), np.float32)
    with pytest.raises(UsageError, match=r"no GPU support.*'cuda'.*'torch'"):
        run(one, one, 1, "cosine", backend="faiss", device="cuda")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["bank", "query"])
def test_a_feature_that_is_not_finite_is_named(
    side: str, value: float, metric: str, backend: str
) -> None:
    rng = np.random.default_rng(13)
    feats = {"bank": gauss(rng, 40, 3), "query": gauss(rng, 20, 3)}
    feats[side][19, 1] = value
    with pytest.raises(FeatureError, match=f"row 19 of the {side} .*NaN or an inf"):
        run(feats["query"], feats["bank"], 2, metric, backend=backend)


@pytest.mark.parametrize(
    ("query", "bank", "changes", "error", "words"),
    [
        (
            (3, 2),
            (7, 2),
            {"k": 8},
            FeatureError,
            "k = 8 with a bank of 7 rows.*1 and 7",
        ),
        ((3, 2), (7, 2), {"k": 0}, FeatureError, "k = 0"),
        ((7, 2), (7, 2), {"k": 7, "leave_one_out": True}, FeatureError, "1 and 6"),
        ((3, 2), (7, 2), {"leave_one_out": True}, FeatureError, "3 queries and 7 rows"),
        ((3, 2), (7, 4), {}, FeatureError, "queries have 2 dimensions and the bank 4"),
        ((3, 0), (7, 0), {}, FeatureError, "0 dimensions"),
        ((3, 2, 1), (7, 2), {}, FeatureError, r"shape \(3, 2, 1\)"),
        ((3, 2), (7, 2), {"metric": "cosin"}, UsageError, "Did you mean 'cosine'"),
        ((3, 2), (7, 2), {"backend": "fais"}, UsageError, "Did you mean 'faiss'"),
        ((3, 2), (7, 2), {"bank_chunk": 0}, UsageError, "0 rows; both .* at least 1"),
    ],
)
def test_bad_input_is_explained(
    query: tuple[int, ...],
    bank: tuple[int, ...],
    changes: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    options = {"k": 1, "metric": "cosine", **changes}
    with pytest.raises(error, match=words):
        run(
            np.ones(query, np.float32),
            np.ones(bank, np.float32),
            options.pop("k"),
            options.pop("metric"),
            **options,
        )


def test_no_query_gives_an_empty_answer() -> None:
    found = run(np.ones((0, 2), np.float32), np.ones((7, 2), np.float32), 3, "cosine")
    assert found.indices_QK.shape == found.scores_QK.shape == (0, 3)


def test_keys_sort_by_cost_and_then_by_index() -> None:
    costs = np.array([2.5, -1, -0.0, 0.0, -3e38, np.inf, 1e-40, -1], np.float32)
    indices = np.array([0, 7, 5, 4, (1 << 32) - 2, 2, 3, 6], np.int64)
    keys = np.sort(knn_order.pack(costs, indices))
    sorted_costs, sorted_indices = knn_order.unpack(keys)
    assert sorted_indices.tolist() == [(1 << 32) - 2, 6, 7, 4, 5, 3, 0, 2]
    assert (np.diff(sorted_costs[:-1]) >= 0).all()
    nobody = knn_order.unpack(np.array([knn_order.NOBODY]))
    assert nobody[0].tolist() == [np.inf]
    assert nobody[1].tolist() == [-1]
