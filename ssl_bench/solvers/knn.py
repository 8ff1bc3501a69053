"""Exact k-nearest-neighbour search over a bank that need not fit into memory.

The bank is walked in chunks: each is normalised (cosine) or centred (Euclidean) into
one reused buffer, searched by faiss or by a torch matrix product, and merged into the
running best. Nothing of the size of the bank is ever allocated. ``knn_order`` then puts
the neighbours into the one order that does not depend on chunks, backends or devices:
best score first, and of equal scores the smaller index, also where a tie crosses k.

``knn_vote`` makes classes of the neighbours.

Axes: Q or q queries, N or n rows of the bank, K neighbours, L candidates, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError, UsageError, unknown
from ssl_bench.solvers.knn_geometry import FloatArray, Geometry, blocks
from ssl_bench.solvers.knn_order import (
    NOBODY,
    SLACK,
    Keys,
    Neighbours,
    best,
    exhaust,
    pack,
    settle,
    unpack,
    unresolved,
)
from ssl_bench.solvers.knn_vote import (
    class_votes,
    predict_cells,
    rank_classes,
    vote_weights,
)

__all__ = [
    "BACKENDS",
    "METRICS",
    "Neighbours",
    "Team",
    "available_backends",
    "class_votes",
    "default_backend",
    "predict_cells",
    "rank_classes",
    "search",
    "vote_weights",
]

METRICS = ("cosine", "euclidean")
BACKENDS = ("faiss", "torch")
# With fewer queries than this a torch product takes kernels for vectors, which round
# equal rows of the bank farther apart than ``knn_geometry.NOISE`` (7.1e-6 was seen).
_FEWEST = 32
# Scores that a torch product makes at a time: 64 MB.
_PRODUCT = 1 << 24


@dataclass(frozen=True)
class Team:
    """Say who searches: several processes that hold the same queries and bank.

    Each walks every size-th chunk of the bank. Chunks are the same however many walk
    them, and so is the result, which every process returns whole.

    Attributes:
        rank: number of this process.
        size: of the team.
        gather: gives what every process has, for arrays of one shape.
    """

    rank: int
    size: int
    gather: Callable[[NDArray[Any]], list[NDArray[Any]]]


ALONE = Team(0, 1, lambda array: [array])

# Finds, for the queries it was made for, (costs_qc, positions_qc) of the c best rows of
# a chunk, in any order; which of equal rows it takes is its own affair.
_Nearest = Callable[[NDArray[np.float32], int], tuple[FloatArray, NDArray[np.int64]]]


def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can be imported here."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return ("torch",)
    return BACKENDS


def default_backend(device: str) -> str:
    """Choose a backend for a device.

    Args:
        device: "cpu", "cuda" or "cuda:1".

    Returns:
        "faiss" on the CPU if it can be imported, else "torch". On a GPU "torch": its
        product is what faiss would call there too, and it needs no second GPU library.
    """
    if device == "cpu" and "faiss" in available_backends():
        return "faiss"
    return "torch"


def search(
    query_QD: FloatArray,
    bank_ND: FloatArray,
    k: int,
    *,
    metric: str,
    backend: str,
    device: str,
    query_chunk: int,
    bank_chunk: int,
    leave_one_out: bool,
    progress: Callable[[int], None] | None = None,
    team: Team = ALONE,
) -> Neighbours:
    """Find the k nearest rows of the bank for every query, exactly.

    Anonymous memory is bounded by the chunks: about ``4 D (query_chunk + bank_chunk)``
    bytes for the rows, ``50 k query_chunk`` for the candidates and 200 MB for blocks,
    beside the result itself. The bank is read once for every chunk of queries.

    Args:
        query_QD: (Q, D) float32 array or memory map.
        bank_ND: (N, D) float32 array or memory map.
        k: neighbours for each query, 1 <= k <= N (N - 1 when leaving one out).
        metric: "cosine" (rows are normalised here, zero rows have similarity 0 to
            everything) or "euclidean" (rows as they are).
        backend: "faiss" or "torch".
        device: "cpu", "cuda" or "cuda:1".
        query_chunk: queries that are searched together.
        bank_chunk: rows of the bank that are prepared and searched together.
        leave_one_out: query i is row i of the bank and must not find itself.
        progress: called now and then with the number of queries just finished; parts
            of the bank count as the like part of the queries.
        team: the processes that share the work.

    Returns:
        Scores and indices. Scores are right to 1e-5 and two backends order neighbours
        alike, but for similarities that float32 cannot tell apart.

    Raises:
        FeatureError: shapes do not fit, k is larger than the bank, or a feature is not
            finite.
        UsageError: the metric, backend or device is unknown or not installed.
    """
    _check(query_QD, bank_ND, k, metric, query_chunk, bank_chunk, leave_one_out)
    open_backend = _backend(backend, device, metric)
    geometry = Geometry.of(metric, bank_ND)
    count, dim = len(bank_ND), bank_ND.shape[1]
    # One more than the slack: with leave-one-out the query itself takes a place.
    listed = min(k + SLACK + 1, count)
    rows_nD = np.empty((min(bank_chunk, count), dim), np.float32)
    placed_qD = np.empty((min(query_chunk, len(query_QD)), dim), np.float32)
    scores_QK = np.empty((len(query_QD), k), np.float32)
    indices_QK = np.empty((len(query_QD), k), np.int64)
    reported = 0
    for part in blocks(len(query_QD), query_chunk):
        query_qD = query_QD[part]
        placed = geometry.place32(query_qD, placed_qD, "query", part.start)
        own_q = np.arange(part.start, part.stop) if leave_one_out else None
        nearest = open_backend(placed)
        keys_qL: Keys = np.full((len(placed), 0), NOBODY)
        for rows in list(blocks(count, bank_chunk))[team.rank :: team.size]:
            chunk = geometry.place32(bank_ND[rows], rows_nD, "bank", rows.start)
            costs, positions = nearest(chunk, min(listed, len(chunk)))
            positions += rows.start
            found = pack(costs, positions)
            if own_q is not None:
                found[positions == own_q[:, None]] = NOBODY
            keys_qL = best(np.concatenate([keys_qL, found], axis=1), listed)
            done = part.start + len(placed) * rows.stop // count
            if progress is not None and done > reported:
                progress(done - reported)
                reported = done
        keys_qL = _merge(team, keys_qL, listed)
        keys_qL.sort(axis=1)
        keys_qk = np.full((-(-len(placed) // team.size) * team.size, k), NOBODY)
        mine = slice(*(len(keys_qk) * (team.rank + i) // team.size for i in (0, 1)))
        if len(placed[mine]):
            keys_qk[mine][: len(placed[mine])] = _first(
                *(geometry, query_qD[mine], placed[mine], bank_ND),
                *(None if own_q is None else own_q[mine], keys_qL[mine], k),
            )
        keys_qk = np.concatenate(team.gather(keys_qk[mine]))[: len(placed)]
        costs, indices_QK[part] = unpack(keys_qk)
        scores_QK[part] = (-costs).clip(-1, 1) if metric == "cosine" else costs
    return Neighbours(scores_QK, indices_QK)


def _merge(team: Team, keys_qL: Keys, listed: int) -> Keys:
    """Return the best candidates of all processes."""
    if team.size == 1:
        return keys_qL
    lacking = listed - keys_qL.shape[1]
    padded_qL = np.pad(keys_qL, ((0, 0), (0, lacking)), constant_values=NOBODY)
    return best(np.concatenate(team.gather(padded_qL), axis=1), listed)


def _first(
    geometry: Geometry,
    query_qD: FloatArray,
    placed_qD: NDArray[np.float32],
    bank_ND: FloatArray,
    own_q: NDArray[np.int64] | None,
    keys_qL: Keys,
    k: int,
) -> Keys:
    """Take the first k of the candidates, in the order that counts."""
    if keys_qL.shape[1] == len(bank_ND):
        return settle(geometry, query_qD, placed_qD, bank_ND, keys_qL, k)
    open_q = unresolved(geometry, placed_qD, unpack(keys_qL)[0], k)
    if not open_q.any():
        return settle(geometry, query_qD, placed_qD, bank_ND, keys_qL, k)
    keys_qk = np.empty((len(keys_qL), k), np.int64)
    for mask, exact in ((~open_q, False), (open_q, True)):
        hit = np.flatnonzero(mask)
        if len(hit) == 0:
            continue
        query = query_qD[hit]
        if not exact:
            keys = settle(geometry, query, placed_qD[hit], bank_ND, keys_qL[hit], k)
        else:
            own = None if own_q is None else own_q[hit]
            keys = exhaust(geometry, query, bank_ND, own, k)
            if geometry.metric == "euclidean":
                keys = settle(geometry, query, placed_qD[hit], bank_ND, keys, k)
        keys_qk[hit] = keys
    return keys_qk


def _check(
    query_QD: FloatArray,
    bank_ND: FloatArray,
    k: int,
    metric: str,
    query_chunk: int,
    bank_chunk: int,
    leave_one_out: bool,
) -> None:
    if metric not in METRICS:
        raise UsageError(unknown("metric", metric, METRICS))
    if query_QD.ndim != 2 or bank_ND.ndim != 2:
        raise FeatureError(
            f"features of shape {query_QD.shape} and {bank_ND.shape}; k-NN takes one "
            "row an image, (N, D); flatten or pool them"
        )
    if query_QD.shape[1] != bank_ND.shape[1] or bank_ND.shape[1] == 0:
        raise FeatureError(
            f"queries have {query_QD.shape[1]} dimensions and the bank "
            f"{bank_ND.shape[1]}; both must come from the same tap of the same backbone"
        )
    if leave_one_out and len(query_QD) != len(bank_ND):
        raise FeatureError(
            f"{len(query_QD)} queries and {len(bank_ND)} rows in the bank; leaving one "
            "out needs the same rows on both sides"
        )
    if min(query_chunk, bank_chunk) < 1:
        raise UsageError(
            f"chunks of {query_chunk} queries and {bank_chunk} rows; both must be at "
            "least 1"
        )
    most = len(bank_ND) - leave_one_out
    if not 1 <= k <= most:
        raise FeatureError(
            f"k = {k} with a bank of {len(bank_ND)} rows"
            f"{' of which a query leaves itself out' if leave_one_out else ''}; "
            f"k must be between 1 and {most}; ask for fewer neighbours or "
            "give more images"
        )
    if len(bank_ND) >= 1 << 32:
        raise FeatureError(
            f"a bank of {len(bank_ND)} rows; at most {(1 << 32) - 1} can be searched"
        )


def _backend(
    backend: str, device: str, metric: str
) -> Callable[[NDArray[np.float32]], _Nearest]:
    if backend not in BACKENDS:
        raise UsageError(unknown("k-NN backend", backend, BACKENDS))
    if backend not in available_backends():
        raise UsageError(
            "the k-NN backend 'faiss' is not installed; install ssl-bench[cpu] or "
            "ssl-bench[gpu], or use the backend 'torch'"
        )
    if backend == "torch":
        return lambda query_qD: _torch_nearest(query_qD, metric, device)
    if device == "cpu":
        return lambda query_qD: _faiss_nearest(query_qD, metric)
    return lambda query_qD: _faiss_gpu_nearest(query_qD, metric, device)


def _faiss_nearest(query_qD: NDArray[np.float32], metric: str) -> _Nearest:
    import faiss

    def nearest(
        rows_nD: NDArray[np.float32], count: int
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        if metric == "euclidean":
            costs, positions = faiss.knn(query_qD, rows_nD, count, faiss.METRIC_L2)
            return costs, positions
        kind = faiss.METRIC_INNER_PRODUCT
        scores, positions = faiss.knn(query_qD, rows_nD, count, kind)
        return np.negative(scores, out=scores), positions

    return nearest


def _faiss_gpu_nearest(
    query_qD: NDArray[np.float32], metric: str, device: str
) -> _Nearest:
    import faiss

    if not hasattr(faiss, "get_num_gpus") or faiss.get_num_gpus() == 0:
        raise UsageError(
            f"the installed faiss has no GPU support, and the device is {device!r}; "
            "use the backend 'torch', or install ssl-bench[gpu] instead of "
            "ssl-bench[cpu]"
        )
    number = int(device.partition(":")[2] or 0)
    resources = faiss.StandardGpuResources()
    cosine = metric == "cosine"
    kind = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2

    def nearest(
        rows_nD: NDArray[np.float32], count: int
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        scores, positions = faiss.knn_gpu(
            resources, query_qD, rows_nD, count, metric=kind, device=number
        )
        return (-scores if cosine else scores), positions

    return nearest


def _torch_nearest(query_qD: NDArray[np.float32], metric: str, device: str) -> _Nearest:
    import torch

    query = torch.from_numpy(query_qD).to(device)
    if 0 < len(query) < _FEWEST:
        query = query.repeat(-(-_FEWEST // len(query)), 1)
    asked = len(query_qD)

    def nearest(
        rows_nD: NDArray[np.float32], count: int
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        rows = torch.from_numpy(rows_nD).to(device)
        costs = np.empty((len(query), count), np.float32)
        positions = np.empty((len(query), count), np.int64)
        squares_n = (rows * rows).sum(1) if metric == "euclidean" else None
        with _full_precision():
            for part in blocks(len(query), max(_FEWEST, _PRODUCT // len(rows))):
                block = query[part]
                products = block @ rows.T
                if squares_n is None:
                    products.neg_()
                else:
                    products.mul_(-2).add_(squares_n)
                    products.add_((block * block).sum(1, keepdim=True)).clamp_(min=0)
                top = torch.topk(products, count, dim=1, largest=False, sorted=False)
                costs[part] = top.values.cpu().numpy()
                positions[part] = top.indices.cpu().numpy()
        return costs[:asked], positions[:asked]

    return nearest


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep TF32 and bfloat16 out of float32 products, whatever the caller has set."""
    import torch

    before: Any = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
