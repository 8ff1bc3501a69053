"""The examination of an installation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ssl_bench import cli, doctor


def findings(data_root: Path | None = None) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor.examine(data_root)}


def test_it_names_versions_devices_faiss_and_data_sets() -> None:
    import torch

    found = findings()
    assert found["torch"].state == torch.__version__.split("+")[0]
    assert "cores" in found["devices"].state or "GPU" in found["devices"].state
    assert found["faiss"].ok
    assert "data set imagenet" in found
    assert "--data-root" in found["data set imagenet"].advice


def test_a_data_set_that_is_there_is_found(image_folder: Path) -> None:
    assert findings(image_folder)["data set folder"].state == str(image_folder)


def test_two_owners_of_one_import_name(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"faiss": ["faiss-cpu", "faiss-gpu"], "cv2": ["opencv-python"]}
    monkeypatch.setattr(doctor, "packages_distributions", lambda: owners)
    owned = [f for f in doctor.examine() if "overwrite" in f.state]
    assert len(owned) == 1
    assert "pip uninstall -y faiss-cpu faiss-gpu" in owned[0].advice


def test_a_library_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor.importlib, "import_module", fail)
    problem = doctor._import_problem("torchvision")
    assert "torchvision::nms" in problem


def test_bf16_instructions_are_read_from_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("flags\t\t: fpu avx512_bf16 avx2\n")
    assert doctor.cpu_bf16_instructions(path) == ["avx512_bf16"]
    path.write_text("flags\t\t: fpu avx2\n")
    assert doctor.cpu_bf16_instructions(path) == []
    assert doctor.cpu_bf16_instructions(tmp_path / "none") == []


def test_extras_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """cpu brings faiss-cpu alone; take it away and the line to type comes."""
    found = findings()
    assert {"extra cpu", "extra gpu", "extra openmmlab", "extra dev"} <= set(found)
    assert found["extra cpu"].state == "works"
    monkeypatch.setattr(
        doctor,
        "installed_version",
        lambda name: None if name.startswith("faiss") else "1",
    )
    found = findings()
    assert found["extra cpu"].state == "not there: faiss-cpu"
    assert found["extra cpu"].advice == "pip install 'faiss-cpu>=1.8'"
    assert found["extra report"].state == "works"


def test_mmcv_is_never_built_in_isolation() -> None:
    advice = doctor._install_line([Requirement("onedl-mmcv==2.3.6")])
    needed, _, line = advice.partition(" && ")
    # setuptools from 81 on lacks what mmcv's build imports.
    assert needed == "pip install 'setuptools<81' wheel ninja psutil"
    assert line.startswith(
        "MMCV_WITH_OPS=1 pip install --no-build-isolation onedl-mmcv==2.3.6 "
    )


def test_the_other_faiss_goes_first() -> None:
    assert findings()["extra gpu"].advice == (
        "pip uninstall -y faiss-cpu && pip install 'faiss-gpu>=1.15'"
    )


def test_without_faiss_the_line_to_type_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "describe_faiss", lambda: None)
    assert "pip install faiss-cpu" in findings()["faiss"].advice


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if all(f["ok"] for f in found) else 1)
    cli.main(["doctor"])
    assert "ok torch" in capsys.readouterr().out.replace("ok  ", "ok ")
