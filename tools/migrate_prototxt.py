"""Rewrite a prototxt of another hypercolumn model into autocolor's layers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path, check_is_file
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.runtime.caffe_runtime import import_caffe

_EPILOG = """\
layers that are rewritten:
  RandBI, RandComp                   PixelNet's, at rows (image, y, x)
  RandCat, RandCatConv               PixelNet's, which draw their pixels themselves
  SparseHypercolumnExtractor         the authors' release
  HypercolumnExtractor               the authors' older Caffe
each into SparseHypercolumn, with its geometry; names of layers and blobs stay, so that weights load. All
else of the net stays as it is, but comments, which are lost. What is not the same afterwards, and what to
do about it, is printed as a note.

--dense writes the net that predicts every pixel in the place of the one that is trained on some: the
sampling layer and the InnerProduct behind it become one HypercolumnInnerProduct, later InnerProducts too,
under their own names, so that the trained weights load as they are. Losses and inputs that nothing reads
any more go.

Exit status: 0, or 1 if the file cannot be read or the result still has what this Caffe lacks: the result
is written all the same, and a line for each layer says what.

examples:
  python tools/migrate_prototxt.py pixelnet/train.prototxt --out train.prototxt
  caffe train -solver solver.prototxt              # net: "train.prototxt"
  python tools/migrate_prototxt.py pixelnet/train.prototxt --dense --out deploy.prototxt"""

# Messages of other people's layers, by the name of their field: (name, type, repeated, default) each.
_FLOAT, _INT, _UINT, _BOOL = (
    FieldDescriptorProto.TYPE_FLOAT,
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_BOOL,
)
_GEOMETRY = tuple((name, _FLOAT, True, "") for name in ("scale", "offset_height", "offset_width"))
_DRAWING = (("rand_selection", _BOOL, False, "true"), ("num_output", _UINT, False, "1000"))
_FOREIGN = {
    "sparse_hypercolumn_extractor_param": (*_GEOMETRY, ("activation_mult", _FLOAT, True, "")),
    "hypercolumn_extractor_param": _GEOMETRY,
    "rand_comp_param": (("compression_rate", _INT, True, ""), ("pad", _BOOL, False, "false")),
    "rand_cat_param": _DRAWING,
    "rand_cat_conv_param": (
        *_DRAWING,
        ("pooling_factor", _INT, True, ""),
        ("pad_factor", _UINT, False, "0"),
    ),
}
_FIRST_ID = 7200

# Layers that compute each value, or each row, by itself: they may stand between inner products.
_ELEMENTWISE = {
    "AbsVal",
    "BatchNorm",
    "Bias",
    "BNLL",
    "Dropout",
    "ELU",
    "Exp",
    "Log",
    "Power",
    "PReLU",
    "ReLU",
    "Scale",
    "Sigmoid",
    "Softmax",
    "Swish",
    "TanH",
}


def net_type(own: FileDescriptorProto) -> Any:
    """Return the class of a NetParameter that knows other people's layers too."""
    file = FileDescriptorProto()
    file.CopyFrom(own)
    (layer,) = (message for message in file.message_type if message.name == "LayerParameter")
    known = {field.name for field in layer.field}
    for number, (field, values) in enumerate(_FOREIGN.items(), _FIRST_ID):
        if field in known:
            continue
        name = "".join(map(str.capitalize, field.split("_")))
        message = file.message_type.add(name=name)
        for index, (value, kind, repeated, default) in enumerate(values, 1):
            added = message.field.add(
                name=value, number=index, type=kind, label=3 if repeated else 1
            )
            if default:
                added.default_value = default
        layer.field.add(
            name=field,
            number=number,
            label=1,
            type_name=f".{file.package}.{name}",
            type=FieldDescriptorProto.TYPE_MESSAGE,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{file.package}.NetParameter")
    )


class Rewriter:
    """A net that is rewritten, with what there is to say about it."""

    def __init__(self, net: Any) -> None:
        self.net = net
        self.notes: list[str] = []
        self.problems: list[str] = []
        # Layers to come before and behind one, by its name.
        self._around: dict[str, tuple[Any, Any]] = {}

    def rewrite(self) -> None:
        """Rewrite every layer that has a counterpart."""
        rewriting: dict[str, Callable[[Any], None]] = {
            "RandBI": self._rows,
            "RandComp": self._rows,
            "RandCat": self._drawn,
            "RandCatConv": self._drawn,
            "SparseHypercolumnExtractor": self._extractor,
            "HypercolumnExtractor": self._extractor,
        }
        found = [layer for layer in self.net.layer if layer.type in rewriting]
        if not found:
            self.notes.append(f"nothing to rewrite: no layer of type {', '.join(rewriting)}")
        for layer in found:
            theirs = layer.type
            count = len(self.problems)
            rewriting[theirs](layer)
            if len(self.problems) == count:
                self.notes.append(f"layer {layer.name}: {theirs} -> SparseHypercolumn")
        layers: list[Any] = []
        for layer in self.net.layer:
            before, behind = self._around.get(layer.name, (None, None))
            layers += [entry for entry in (before, layer, behind) if entry is not None]
        self._set_layers(layers)

    def _set_layers(self, layers: Sequence[Any]) -> None:
        copies = [type(layer).FromString(layer.SerializeToString()) for layer in layers]
        del self.net.layer[:]
        self.net.layer.extend(copies)

    def _problem(self, layer: Any, text: str) -> None:
        self.problems.append(f"layer {layer.name} ({layer.type}) is not rewritten: {text}")

    def _become_sparse(
        self,
        layer: Any,
        locations: str,
        levels: Sequence[str],
        scales: Sequence[float],
        offsets: Sequence[float],
    ) -> None:
        layer.type = "SparseHypercolumn"
        del layer.bottom[:]
        layer.bottom.extend([locations, *levels])
        geometry = layer.sparse_hypercolumn_param
        geometry.scale.extend(scales)
        geometry.offset_height.extend(offsets)
        geometry.offset_width.extend(offsets)

    def _rows(self, layer: Any) -> None:
        """Rewrite RandBI and RandComp, whose last bottom are rows (image, y, x)."""
        param = layer.rand_comp_param
        *levels, rows = layer.bottom
        rates = list(param.compression_rate)
        if len(rates) != len(levels):
            self._problem(
                layer,
                f"expected {len(levels)} values of compression_rate, one for each "
                f"bottom but the last, got {len(rates)}",
            )
            return
        if layer.propagate_down:  # theirs goes by that of the first bottom
            propagates = layer.propagate_down[0]
            del layer.propagate_down[:]
            layer.propagate_down.extend([False, *([propagates] * len(levels))])
        nearest = layer.type == "RandComp"
        offsets = [(rate - 1) / 2 if param.pad else 0.0 for rate in rates]
        layer.ClearField("rand_comp_param")
        self._become_sparse(layer, rows, levels, rates, offsets)
        if nearest:
            layer.sparse_hypercolumn_param.nearest = True
        self.notes.append(
            f"layer {layer.name}: a pixel whose cell lies outside a map, which ended "
            "the run, reads the map's border"
        )

    def _drawn(self, layer: Any) -> None:
        """Rewrite RandCat and RandCatConv, which draw pixels where a mask is 1."""
        if len(layer.bottom) < 3 or len(layer.top) != 2:
            self._problem(
                layer,
                "expected levels, a mask and a target as bottoms, and 2 tops, got "
                f"{len(layer.bottom)} and {len(layer.top)}",
            )
            return
        *levels, mask, target = layer.bottom
        bilinear = layer.type == "RandCatConv"
        param = layer.rand_cat_conv_param if bilinear else layer.rand_cat_param
        scales = list(param.pooling_factor) if bilinear else [1] * len(levels)
        if len(scales) != len(levels):
            self._problem(
                layer,
                f"expected {len(levels)} values of pooling_factor, one for each "
                f"level, got {len(scales)}",
            )
            return
        theirs, count = layer.type, param.num_output
        columns, targets = layer.top
        rows = f"{layer.name}_pixels"
        if not param.rand_selection:
            self.notes.append(
                f"layer {layer.name}: took every pixel: for that use --dense, or fill "
                f"{rows} with all of them"
            )
        for field in ("rand_cat_param", "rand_cat_conv_param", "propagate_down", "top"):
            layer.ClearField(field)
        layer.top.append(columns)
        self._become_sparse(layer, rows, levels, scales, [(scale - 1) / 2 for scale in scales])
        layer.sparse_hypercolumn_param.nearest = not bilinear
        source = type(layer)(name=rows, type="Input", top=[rows])
        source.input_param.shape.add(dim=[count, 3])
        reader = type(layer)(
            name=f"{layer.name}_target",
            type="SparseHypercolumn",
            bottom=[rows, target],
            top=[targets],
        )
        reader.sparse_hypercolumn_param.nearest = True
        self._around[layer.name] = (source, reader)
        self.notes.append(
            f"layer {layer.name}: {theirs} drew {count} pixels an image, of those "
            f"where {mask} is 1; fill the blob {rows} with rows (image, y, x) of such "
            "pixels, any number of them"
        )

    def _extractor(self, layer: Any) -> None:
        """Rewrite the authors' layers, which have our order of bottoms and our fields."""
        field = (
            "sparse_hypercolumn_extractor_param"
            if layer.type.startswith("Sparse")
            else "hypercolumn_extractor_param"
        )
        param = getattr(layer, field)
        levels = len(layer.bottom) - 1
        for name, _, _, _ in _GEOMETRY:
            count = len(getattr(param, name))
            if count != levels:
                self._problem(
                    layer, f"expected {levels} values of {name}, one for each level, got {count}"
                )
                return
        factors = list(getattr(param, "activation_mult", ()))
        geometry = layer.sparse_hypercolumn_param
        for name, _, _, _ in _GEOMETRY:
            getattr(geometry, name).extend(getattr(param, name))
        if factors:
            geometry.activation_mult.extend([*factors, *([1.0] * (levels - len(factors)))])
        layer.ClearField(field)
        layer.type = "SparseHypercolumn"
        self._shorten_locations(layer.bottom[0])

    def _shorten_locations(self, blob: str) -> None:
        """Make (N, P, 2, 1), which the older layer takes too, (N, P, 2)."""
        shapes = [
            shape
            for layer in self.net.layer
            if list(layer.top) == [blob]
            for shape in (*layer.input_param.shape, *layer.dummy_data_param.shape)
        ]
        if blob in self.net.input and len(self.net.input_shape) == len(self.net.input):
            shapes.append(self.net.input_shape[list(self.net.input).index(blob)])
        for shape in shapes:
            if list(shape.dim[2:]) == [2, 1]:
                del shape.dim[3]

    def make_dense(self, stride: int) -> None:
        """Turn sampling and what follows it into a net that predicts on a grid."""
        dense: set[str] = set()  # blobs that are maps now and were rows
        sampled: dict[str, Any] = {}  # hypercolumns, to their layer
        kept: list[Any] = []
        for layer in self.net.layer:
            bottoms = set(layer.bottom)
            if layer.type == "SparseHypercolumn":
                sampled[layer.top[0]] = layer
            elif layer.type.endswith("Loss") or layer.type == "Accuracy":
                continue
            elif layer.type == "Dropout" and layer.bottom[0] in sampled:
                sampled[layer.top[0]] = sampled[layer.bottom[0]]  # does nothing in a prediction
            elif not bottoms.isdisjoint(sampled):
                sparse = next(sampled[name] for name in layer.bottom if name in sampled)
                self._make_product_dense(layer, sparse, stride, dense, kept)
            elif not bottoms.isdisjoint(dense):
                self._make_reader_dense(layer, dense, kept)
            else:
                kept.append(layer)
        self._set_layers(kept)
        self._drop_unread()

    def _make_product_dense(
        self, layer: Any, sparse: Any, stride: int, dense: set[str], kept: list[Any]
    ) -> None:
        if not self._to_product(layer):
            self._problem(layer, "--dense expected an InnerProduct behind the hypercolumns")
            return
        product, geometry = layer.hypercolumn_inner_product_param, sparse.sparse_hypercolumn_param
        if geometry.nearest:
            self.notes.append(
                f"layer {layer.name}: reads bilinearly where {sparse.name} read the nearest cell"
            )
        for field in ("scale", "offset_height", "offset_width", "activation_mult"):
            getattr(product, field).extend(getattr(geometry, field))
        product.stride = stride
        del layer.bottom[:]
        layer.bottom.extend(sparse.bottom[1:])
        dense.update(layer.top)
        kept.append(layer)
        self.notes.append(f"layers {sparse.name} and {layer.name} -> HypercolumnInnerProduct")

    def _make_reader_dense(self, layer: Any, dense: set[str], kept: list[Any]) -> None:
        if layer.type == "InnerProduct" and self._to_product(layer):
            self.notes.append(f"layer {layer.name}: InnerProduct -> HypercolumnInnerProduct")
        elif layer.type not in _ELEMENTWISE:
            self._problem(layer, "--dense does not know what it does with maps")
        dense.update(layer.top)
        kept.append(layer)

    def _to_product(self, layer: Any) -> bool:
        """Turn an InnerProduct into a HypercolumnInnerProduct of the same weights."""
        param = layer.inner_product_param
        if layer.type != "InnerProduct" or param.transpose or param.axis != 1:
            return False
        product = layer.hypercolumn_inner_product_param
        product.num_output = param.num_output
        if not param.bias_term:
            product.bias_term = False
        for field in ("weight_filler", "bias_filler"):
            if param.HasField(field):
                getattr(product, field).CopyFrom(getattr(param, field))
        layer.ClearField("inner_product_param")
        layer.type = "HypercolumnInnerProduct"
        return True

    def _drop_unread(self) -> None:
        """Remove inputs that nothing reads."""
        read = {bottom for layer in self.net.layer for bottom in layer.bottom}
        inputs = list(self.net.input)
        for index in reversed(range(len(inputs))):
            if inputs[index] not in read:
                if self.net.input_shape:
                    del self.net.input_shape[index]
                else:
                    del self.net.input_dim[4 * index : 4 * index + 4]
                del self.net.input[index]
        for index in reversed(range(len(self.net.layer))):
            layer = self.net.layer[index]
            if layer.type in ("Input", "DummyData") and read.isdisjoint(layer.top):
                del self.net.layer[index]

    def check(self, known: set[str]) -> None:
        """Name what this Caffe has no layer for."""
        for layer in self.net.layer:
            if layer.type not in known and not any(
                text.startswith(f"layer {layer.name} ") for text in self.problems
            ):
                self._problem(layer, "this Caffe has no such layer")


def read_net(path: Path, kind: Any) -> tuple[Any, set[str]]:
    """Parse a net; returns it and the names of fields that it lacks, which are left out."""
    unknown: set[str] = set()
    try:
        check_is_file(path)
        text = path.read_text(encoding="utf-8-sig")  # Windows programs put a mark in front
        try:
            net = text_format.Parse(text, kind())
        except text_format.ParseError as error:
            if "no field named" not in str(error):
                raise
            net = text_format.Parse(text, kind(), allow_unknown_field=True)
            file = kind.DESCRIPTOR.file
            known = {
                field
                for message in file.message_types_by_name.values()
                for field in message.fields_by_name
            }
            code = re.sub(r"#.*|\"[^\"]*\"|'[^']*'", "", text)
            unknown = set(re.findall(r"([a-z]\w*)\s*[:{]", code)) - known
    except text_format.ParseError as error:
        raise AutocolorError(f"{path}:{error}") from None
    except UnicodeDecodeError as error:
        raise AutocolorError(f"{path}: expected text, got {error}") from None
    if net.layers:
        raise AutocolorError(
            f"{path}: expected `layer`, got `layers` of 2014: run upgrade_net_proto_text first"
        )
    return net, unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(__doc__, _EPILOG)
    parser.add_argument("net", type=Path, metavar="PROTOTXT", help="net to rewrite")
    parser.add_argument("--out", type=Path, required=True, metavar="PROTOTXT", help="file to write")
    parser.add_argument(
        "--dense", action="store_true", help="write the net that predicts every pixel instead"
    )
    parser.add_argument(
        "--stride",
        type=at_least(1),
        default=1,
        metavar="PIXELS",
        help="of --dense: input pixels between predictions (default 1)",
    )
    arguments = parser.parse_args(argv)
    if arguments.out.resolve() == arguments.net.resolve():
        parser.error(f"argument --out: expected another file than the net, got {arguments.out}")
    if arguments.stride != 1 and not arguments.dense:
        parser.error("argument --stride: expected --dense as well")
    caffe = import_caffe()
    own = FileDescriptorProto()
    caffe.proto.caffe_pb2.DESCRIPTOR.CopyToProto(own)
    net, unknown = read_net(arguments.net, net_type(own))
    rewriter = Rewriter(net)
    if unknown:
        rewriter.problems.append(
            f"fields that this Caffe does not know were left out: {', '.join(sorted(unknown))}"
        )
    rewriter.rewrite()
    if arguments.dense:
        rewriter.make_dense(arguments.stride)
    rewriter.check(set(caffe.layer_type_list()))
    with atomic_path(arguments.out) as path:
        path.write_text(text_format.MessageToString(rewriter.net), encoding="utf-8")
    for note in rewriter.notes:
        print(note)
    for problem in rewriter.problems:
        print(f"migrate_prototxt: {problem}", file=sys.stderr)
    return 1 if rewriter.problems else 0


if __name__ == "__main__":
    run_program(main)
