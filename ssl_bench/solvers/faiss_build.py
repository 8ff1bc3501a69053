"""Which faiss is installed, without letting anybody else import it."""

from __future__ import annotations


def describe_faiss() -> str | None:
    """Return version, kind of build and instruction sets; None without faiss."""
    try:
        import faiss
    except ImportError:
        return None
    gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    kind = f"GPU build, {gpus} GPUs" if gpus else "CPU build"
    options = " ".join(faiss.get_compile_options().split())
    return f"{faiss.__version__}, {kind}, {options}"
