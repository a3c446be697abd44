"""Writes the served graphs: texts' token ids in, unit vectors out.

The contract, for both families and both arithmetics: inputs ``input_ids`` and ``attention_mask``,
int64 of shape (batch, sequence); output ``sentence_embedding``, float32 of shape (batch, dim),
rows of Euclidean norm 1. Pooling and normalisation are part of the graph. A row without a token
is the zero vector, never NaN.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from app.core.encoder_spec import Pooling as Pooled
from training.int8_table import ROWS, SCALES, quantize_rows

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "sentence_embedding"
OPSET = 17
_SMALLEST_NORM = 1e-12


def quantize_weights(model: onnx.ModelProto) -> None:
    """Store the weights of a transformer's graph as int8, and compute in float32 as before.

    Four times smaller and as fast as float32: for encoders whose activations lose too much when
    they are quantised too. Matrices of products get one scale per column, tables that rows are
    gathered from one per row.

    Args:
        model: The float32 graph; changed.
    """
    products = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    nodes = []
    for tensor in list(model.graph.initializer):
        axis = 1 if tensor.name in products else 0
        if tensor.name not in products | tables or len(tensor.dims) != 2:
            continue
        if tensor.data_type != TensorProto.FLOAT:
            continue
        matrix = numpy_helper.to_array(tensor)
        rows, scales = quantize_rows(matrix.T if axis else matrix)
        stored = np.ascontiguousarray(rows.T if axis else rows)
        names = (f"{tensor.name}.int8", f"{tensor.name}.scales")
        nodes.append(helper.make_node("DequantizeLinear", [*names], [tensor.name], axis=axis))
        model.graph.initializer.extend(
            [numpy_helper.from_array(a, n) for a, n in zip((stored, scales), names, strict=True)]
        )
        model.graph.initializer.remove(tensor)
    reordered = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(reordered)
    onnx.checker.check_model(model)


def static_graph(
    rows: NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8],
    scales: NDArray[np.float32] | None = None,
    *,
    pooling: Pooled = "mean",
) -> onnx.ModelProto:
    """Return the graph of a static encoder: mean of the rows of the real tokens, norm 1.

    Args:
        rows: (n_rows, dim), one row per token, in the format in which they are stored.
        scales: (n_rows,), what each row is multiplied by; 1 where it is ``None``.
        pooling: ``mean`` or ``sublinear``.
    """
    assert pooling != "cls", "a table has no first token that stands for the others"
    nodes = [helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT)]
    tensors = [numpy_helper.from_array(rows, "table")]
    counted = "real"
    if pooling == "sublinear":
        nodes += _damped()
        tensors.append(numpy_helper.from_array(np.array([2], np.int64), "last_axis"))
        counted = "damped"
    if scales is None:
        nodes.append(helper.make_node("Identity", [counted], ["weight"]))
    else:
        tensors.append(numpy_helper.from_array(scales, "scales"))
        nodes += [
            helper.make_node("Gather", ["scales", "input_ids"], ["scale"]),
            helper.make_node("Mul", [counted, "scale"], ["weight"]),
        ]
    tensors += [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array(1.0, np.float32), "one"),
        numpy_helper.from_array(np.array(_SMALLEST_NORM, np.float32), "smallest"),
    ]
    nodes += [
        helper.make_node("Gather", ["table", "input_ids"], ["gathered"]),
        helper.make_node("Cast", ["gathered"], ["tokens"], to=TensorProto.FLOAT),
        # (batch, 1, sequence) @ (batch, sequence, dim): sums the weighted tokens in one pass.
        helper.make_node("Unsqueeze", ["weight", "axis"], ["weights"]),
        helper.make_node("MatMul", ["weights", "tokens"], ["summed"]),
        helper.make_node("Squeeze", ["summed", "axis"], ["sum"]),
        helper.make_node("ReduceSum", ["real", "axis"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["n_tokens"]),
        helper.make_node("Div", ["sum", "n_tokens"], ["mean"]),
        helper.make_node("ReduceL2", ["mean"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "smallest"], ["norm"]),
        helper.make_node("Div", ["mean", "norm"], [OUTPUT]),
    ]
    sequence = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "static_encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, sequence) for name in INPUTS],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", rows.shape[1]])],
        tensors,
    )
    opset = [helper.make_opsetid("", OPSET)]
    # IR version 9 is what the runtimes of the last three years read.
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _damped() -> list[NodeProto]:
    """Return what divides the weight of each of a text's n equal tokens by sqrt(n)."""
    return [
        helper.make_node("Unsqueeze", ["input_ids", "axis"], ["ids_across"]),
        helper.make_node("Unsqueeze", ["input_ids", "last_axis"], ["ids_down"]),
        helper.make_node("Equal", ["ids_down", "ids_across"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["twins"], to=TensorProto.FLOAT),
        # (batch, sequence, sequence) @ (batch, sequence, 1): counts the real ones.
        helper.make_node("Unsqueeze", ["real", "last_axis"], ["real_down"]),
        helper.make_node("MatMul", ["twins", "real_down"], ["counted"]),
        helper.make_node("Squeeze", ["counted", "last_axis"], ["occurrences"]),
        helper.make_node("Max", ["occurrences", "one"], ["at_least_once"]),
        helper.make_node("Sqrt", ["at_least_once"], ["root"]),
        helper.make_node("Div", ["real", "root"], ["damped"]),
    ]


def share_table(model: onnx.ModelProto, weights: Path) -> None:
    """Make a static graph read its table from a safetensors file instead of holding a copy.

    The two files must stay in one directory: runtimes refuse to leave the graph's own.

    Args:
        model: A graph of ``static_graph``; changed.
        weights: A safetensors file with the same table in the same format: its only tensor, or
            the two of ``training.int8_table``.
    """
    with weights.open("rb") as file:
        # Format: length of the header (8 bytes, little-endian), header (JSON), tensors.
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    for tensor in model.graph.initializer:
        if tensor.name in _TABLE:
            facts = header[_TABLE[tensor.name]] if len(header) > 1 else next(iter(header.values()))
            _refer(tensor, weights.name, 8 + length, facts["data_offsets"])


_TABLE = {"table": ROWS, "scales": SCALES}
"""Tensors of a static graph that hold its weights, and what they are called in an int8 file."""


def _refer(
    tensor: onnx.TensorProto, location: str, start_of_tensors: int, span: tuple[int, int]
) -> None:
    """Replace the bytes of a tensor by their place in a file."""
    start, end = span
    assert end - start == len(tensor.raw_data), "the file holds this tensor"
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": location, "offset": start_of_tensors + start, "length": end - start}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


class _Served(nn.Module):
    """Backbone, pooling and normalisation with the graph's inputs and output."""

    def __init__(self, encoder: SentenceTransformer) -> None:
        super().__init__()
        transformer, pooling = encoder[0], encoder[1]
        assert isinstance(transformer, Transformer), "the caller knows the family"
        assert isinstance(pooling, Pooling), "build_transformer puts it there"
        self.backbone = transformer.auto_model
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        features = {
            "token_embeddings": tokens.last_hidden_state,
            "attention_mask": attention_mask,
        }
        pooled = self.pooling(features)["sentence_embedding"]
        norm = torch.linalg.vector_norm(pooled, dim=1, keepdim=True).clamp_min(_SMALLEST_NORM)
        return torch.div(pooled, norm)


def write_transformer_graph(encoder: SentenceTransformer, path: Path) -> None:
    """Trace a transformer encoder, and write its float32 graph.

    Args:
        encoder: Backbone, pooling, normalisation; left on the CPU, in evaluation mode, float32.
        path: The file; weights beyond 2 GB are written beside it.
    """
    served = _Served(encoder.cpu().float()).eval()
    served.backbone.set_attn_implementation("eager")
    example = (torch.tensor([[0, 1, 2], [0, 1, 2]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS} | {OUTPUT: {0: "batch"}}
    with torch.inference_mode(), warnings.catch_warnings():
        # The tracer warns about every Python branch on a shape; parity is measured instead.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            served,
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
