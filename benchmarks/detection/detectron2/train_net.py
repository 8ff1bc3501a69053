"""Train a detector in detectron2 from a backbone that ssl-bench extracted.

python train_net.py --config-file coco_R_50_C4_2x_moco.yaml --num-gpus 8 \
    MODEL.WEIGHTS backbone.pkl OUTPUT_DIR out

Training begins only if every tensor of the backbone, and of stage 5 in the head of C4,
holds what the file says: detectron2 itself passes over what it cannot match. The last
evaluation stands in OUTPUT_DIR/metrics.json, for ``ssl-bench import-result``.

``--eval-only`` tests the detector in MODEL.WEIGHTS and writes evaluation.json there.

Source: He et al. 2019, arXiv:1911.05722, appendix A.3 (the norm behind stage 5).
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

COUNTER = "num_batches_tracked"
EXTRA_NORM = "roi_heads.res5.norm."
"""The one part of the head that no file of a backbone holds."""


def backbone_names(names: list[str]) -> list[str]:
    """Return those of a detector's tensors that a backbone's file has to fill.

    Args:
        names: of all tensors of the detector.
    """
    pyramid = any(name.startswith("backbone.bottom_up.") for name in names)
    start = "backbone.bottom_up." if pyramid else "backbone."
    return [
        name
        for name in names
        if name.startswith((start, "roi_heads.res5."))
        and not name.startswith(EXTRA_NORM)
        and not name.endswith(COUNTER)
    ]


def unfilled(state: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[str]:
    """Return a clause for each tensor that was not loaded, or that has no place.

    Args:
        state: tensors of the detector after loading.
        arrays: those of the file; detectron2 finds each by the end of a name.
    """
    found = []
    used = set()
    for name in backbone_names(list(state)):
        ends = [key for key in arrays if f".{name}".endswith(f".{key}")]
        if not ends:
            found.append(f"{name} is not in the file")
            continue
        used.add(max(ends, key=len))
        theirs = np.asarray(arrays[max(ends, key=len)])
        mine = state[name].detach().cpu().numpy()
        if mine.shape != theirs.shape:
            found.append(f"{name} is {mine.shape}, in the file {theirs.shape}")
        elif not np.array_equal(mine, theirs.astype(mine.dtype)):
            found.append(f"{name} holds other values than the file")
    left = [key for key in arrays if key not in used and not key.endswith(COUNTER)]
    return found + [f"{key} of the file has no place" for key in left]


class _Refused(SystemExit):
    """End the program with one sentence and exit code 1."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"train_net: error: {sentence}")


def read_backbone(path: str) -> dict[str, Any]:
    """Read a backbone's pickle as detectron2 does, which executes what is in it.

    Raises:
        SystemExit: where it is none.
    """
    if not path.endswith(".pkl") or not Path(path).is_file():
        raise _Refused(
            f"MODEL.WEIGHTS {path or '(empty)'} is no file of a backbone; make one: "
            "ssl-bench extract CHECKPOINT backbone.pkl --to detectron2"
        )
    with Path(path).open("rb") as file:
        tree = pickle.load(file, encoding="latin1")
    if not isinstance(tree, dict) or not {"model", "matching_heuristics"} <= set(tree):
        raise _Refused(
            f"MODEL.WEIGHTS {path} was not written for detectron2; write it anew: "
            "ssl-bench extract CHECKPOINT backbone.pkl --to detectron2"
        )
    return dict(tree["model"])


def check_filled(model: Any, arrays: Mapping[str, Any], path: str) -> None:
    """Compare a detector that was just loaded with the arrays of the file.

    Raises:
        SystemExit: naming what was not loaded.
    """
    state = model.state_dict()
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    wrong = unfilled(state, arrays)
    total = len(backbone_names(list(state)))
    if wrong or not total:
        raise _Refused(
            f"the detector's {total} backbone tensors are not those of {path}, "
            f"{len(wrong)} differ: {'; '.join(wrong[:3]) or 'there is no ResNet'}; "
            "take the recipe and the settings that ssl-bench extract said for this file"
        )
    print(f"all {total} tensors of the backbone are those of {path}")


def register_head() -> None:
    """Make the head of the C4 recipes known to detectron2."""
    from detectron2.layers import get_norm
    from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads

    class Res5ROIHeadsExtraNorm(Res5ROIHeads):  # type: ignore[misc]
        """Put a norm behind stage 5, whose features nothing else normalises."""

        def __init__(self, cfg: Any, input_shape: Any) -> None:
            super().__init__(cfg, input_shape)
            width = self.res5[-1].out_channels
            self.res5.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, width))

    if "Res5ROIHeadsExtraNorm" not in ROI_HEADS_REGISTRY:
        ROI_HEADS_REGISTRY.register(Res5ROIHeadsExtraNorm)


def make_evaluator(dataset: str, folder: str) -> Any:
    """Return the evaluator that belongs to a data set of detectron2.

    Raises:
        SystemExit: for a data set of another kind.
    """
    from detectron2 import evaluation
    from detectron2.data import MetadataCatalog

    kind = MetadataCatalog.get(dataset).get("evaluator_type", "none")
    if kind == "coco":
        return evaluation.COCOEvaluator(dataset, output_dir=folder)
    if kind == "pascal_voc":
        return evaluation.PascalVOCDetectionEvaluator(dataset)
    if kind == "cityscapes_instance":
        return evaluation.CityscapesInstanceEvaluator(dataset)
    raise _Refused(
        f"DATASETS.TEST {dataset} has the evaluator {kind}; it should be coco, "
        "pascal_voc or cityscapes_instance"
    )


def work(args: Any) -> None:
    """Train or test on one process."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer, default_setup
    from detectron2.utils import comm

    class Trainer(DefaultTrainer):  # type: ignore[misc]
        """Evaluate by the kind of the data set."""

        @classmethod
        def build_evaluator(
            cls, cfg: Any, dataset_name: str, output_folder: str | None = None
        ) -> Any:
            folder = output_folder or str(Path(cfg.OUTPUT_DIR) / "inference")
            return make_evaluator(dataset_name, folder)

    register_head()
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    if args.eval_only:
        if cfg.MODEL.WEIGHTS.endswith(".pkl") and not args.resume:
            raise _Refused(
                f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS} is a backbone without a trained "
                "head; name model_final.pth of a training run"
            )
        model = Trainer.build_model(cfg)
        reader = DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
        reader.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            out = Path(cfg.OUTPUT_DIR) / "evaluation.json"
            out.write_text(json.dumps(results, default=float), encoding="utf-8")
        return
    goes_on = args.resume and (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file()
    arrays = {} if goes_on else read_backbone(cfg.MODEL.WEIGHTS)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    if not goes_on:
        check_filled(trainer.model, arrays, cfg.MODEL.WEIGHTS)
    trainer.train()


def main() -> int:
    """Start one process a GPU."""
    if importlib.util.find_spec("detectron2") is None:
        print(
            "train_net: error: detectron2 is not installed; install it as its "
            "INSTALL.md says, or train with ssl-bench detect",
            file=sys.stderr,
        )
        return 1
    from detectron2.engine import default_argument_parser, launch
    from torch.multiprocessing import ProcessExitedException

    args = default_argument_parser().parse_args()
    try:
        launch(
            work,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException:
        return 1  # the process has said why
    return 0


if __name__ == "__main__":
    sys.exit(main())
