"""Colorize images of any size with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS
from autocolor.histograms.decode import DecodeOptions
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.scales import merge_scales
from autocolor.histograms.textures import grey_if_texture
from autocolor.imaging.images import resize
from autocolor.imaging.layouts import as_lightness
from autocolor.runtime.backends import load_net
from autocolor.runtime.device import HistogramNet
from autocolor.runtime.model_folder import INPUT_MULTIPLE, Manifest, ModelError


class Colorizer:
    """A trained model of any variant, ready to colorize.

    Parameters
    ----------
    model_folder : path
        With ``model.json`` (see :class:`autocolor.runtime.model_folder.Manifest`) and the files it names.
    device : str
        ``cpu``, ``gpu``, or ``gpu:1`` for the second GPU.
    working_side : int, optional
        Instead of the manifest's: smaller side of the image that the network sees.
    net : HistogramNet, optional
        Runs instead of the folder's deploy prototxt and weights.
    backend : {"auto", "caffe", "onnx"}
        What runs the network: Caffe, or onnxruntime; "auto" takes Caffe where it is built.

    Attributes
    ----------
    folder : Path
    manifest : Manifest

    Raises
    ------
    ModelError
        If the folder cannot be used.
    autocolor.runtime.device.BackendError
        If the backend is not there, or cannot use the device.

    Notes
    -----
    Memory depends on the size that the network sees, hardly on the photo's: colours are taken from
    the histograms in tiles. With 4,225 hypercolumn channels, a photo of 4 megapixels took at most
    0.8 GiB at 256 x 256, the default for a square, 2.3 GiB at 256 x 1024 or 512 x 512, and 8.3 GiB
    at 1024 x 1024, the largest (peak of the process, on the CPU).

    Examples
    --------
    >>> colorizer = Colorizer("build/demo/model")
    >>> rgb = colorizer.colorize(read_image("photo.jpg").rgb)
    """

    def __init__(
        self,
        model_folder: Path | str,
        device: str = "cpu",
        *,
        working_side: int | None = None,
        net: HistogramNet | None = None,
        backend: str = "auto",
    ) -> None:
        self.folder = folder = Path(model_folder)
        self.manifest = Manifest.load(folder)
        self._working_side = self.manifest.working_side if working_side is None else working_side
        if not 1 <= self._working_side <= self.manifest.maximum_side:
            raise InputError(
                "working_side",
                f"expected 1 to {self.manifest.maximum_side}, got {self._working_side}",
            )
        if net is None:
            net = load_net(
                folder / self.manifest.deploy,
                folder / self.manifest.weights,
                device,
                outputs=tuple(self.manifest.outputs),
                backend=backend,
            )
        self._net = net

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the image that the network sees, before padding.

        The smaller side becomes the working side, never enlarging, unless the larger side would
        then exceed the model's maximum.
        """
        factor = min(
            1.0,
            self._working_side / min(height, width),
            self.manifest.maximum_side / max(height, width),
        )
        return max(1, round(height * factor)), max(1, round(width * factor))

    def predict(self, image: Any) -> Prediction:
        """Run the network on a photo; colours can be taken from the result in several ways.

        Arguments and errors are those of :meth:`histograms`.
        """
        lightness = as_lightness(image)
        outputs = self._histograms(lightness)
        height, width = lightness.shape
        working_height, working_width = self.working_size(height, width)
        stride = self.manifest.stride
        return Prediction(
            self.manifest.variant,
            lightness,
            outputs,
            (working_height / height / stride, working_width / width / stride),
            self.manifest.strength,
        )

    def histograms(self, image: Any) -> tuple[FloatArray, ...]:
        """Predict histograms on the network's grid, or colours if the variant is "lab_l2".

        The image is shrunk to its working size and padded at the right and at the bottom, by
        mirroring, to multiples of 32; cells that lie in the padding are cut off. So every pixel of
        the photo, whatever its shape, is seen and gets a colour. A model may have further scales,
        which are done likewise and averaged, and may leave a photo grey that is one texture all
        over: see :mod:`autocolor.histograms.textures`.

        Parameters
        ----------
        image : array, nested list, Pillow image or tensor
            Grey or in colour, which is not looked at; of any size. Layouts and types are those of
            :func:`autocolor.imaging.layouts.as_lightness`.

        Returns
        -------
        tuple of (h, w, C) float arrays
            Hue and chroma, or a and b, each with C = K; of "lab_joint" one with C = K * K and
            index (bin of a) * K + (bin of b); of "lab_l2" a and b themselves, C = 2.
            Cell (j, i) belongs to pixel (j * stride + (stride - 1)/2, i * stride + (stride - 1)/2)
            of the image of size :meth:`working_size`.

        Raises
        ------
        InputError
            If `image` is none.
        ModelError
            If the network's output is not of the size and the number of bins that the manifest
            says.
        """
        return self._histograms(as_lightness(image))

    def _histograms(self, lightness: FloatArray) -> tuple[FloatArray, ...]:
        working = self.working_size(*lightness.shape)
        sizes = [
            (max(1, round(scale * working[0])), max(1, round(scale * working[1])))
            for scale in self.manifest.scales
        ]
        small = [resize(lightness, size) for size in sizes]
        seen = [self._see(image) for image in small]
        outputs = seen[0]
        if len(seen) > 1:
            shares = [(height / working[0], width / working[1]) for height, width in sizes[1:]]
            are_histograms = VARIANTS[self.manifest.variant].is_histogram
            outputs = tuple(
                merge_scales(grids, shares, are_histograms=are_histograms)
                for grids in zip(*seen, strict=True)
            )
        if self.manifest.grey_textures:
            hue, chroma = outputs
            outputs = hue, grey_if_texture(chroma, small[0])
        return outputs

    def _see(self, small: FloatArray) -> tuple[FloatArray, ...]:
        """Return the (h, w, C) outputs for a photo of the size that the network is to see."""
        height, width = small.shape
        padding = ((0, -height % INPUT_MULTIPLE), (0, -width % INPUT_MULTIPLE))
        padded = np.pad(small, padding, mode="symmetric")
        stride = self.manifest.stride
        rows, columns = -(-height // stride), -(-width // stride)  # on the image
        cropped = []
        outputs = self.manifest.outputs.items()
        for (name, channels), grid in zip(outputs, self._net(padded), strict=True):
            expected = (channels, *(side // stride for side in padded.shape))
            if grid.shape != expected:
                raise ModelError(
                    f"blob {name!r}: expected shape {expected} by the manifest's bins and stride, "
                    f"got {grid.shape}"
                )
            cropped.append(np.ascontiguousarray(np.moveaxis(grid[:, :rows, :columns], 0, -1)))
        return tuple(cropped)

    def colorize(
        self,
        image: Any,
        *,
        method: str | None = None,
        hue: str | None = None,
        fading: bool = True,
        strength: float | None = None,
        rng: np.random.Generator | None = None,
        sampling: str = "pixel",
        look: str = "faithful",
    ) -> npt.NDArray[np.float32]:
        """Colorize a grey image (section 3.3).

        Parameters
        ----------
        image : array, nested list, Pillow image or tensor
            As of :meth:`histograms`.
        method : {"sample", "mode", "median", "expectation"}, optional
            How a chroma, or a and b, are taken from their histograms. Unless given: the median of
            chroma, the expectation of a and b. A "lab_l2" model has no choice.
        hue : {"expectation", "mode", "sample"}, optional
            How a hue is; unless given, it is sampled with "sample", the mode with "mode" and else
            the expectation.
        fading : bool
            Chromatic fading (Eq. 5), where the model predicts hue.
        strength : float, optional
            Factor on chroma, or on a and b; the manifest's unless given.
        rng : numpy.random.Generator, optional
            Draws the samples; needed for them.
        sampling : {"pixel", "image"}
            Whether each pixel is sampled with numbers of its own, or all with the same two.
        look : {"faithful", "vivid"}
            Least error; or livelier where the hue is sure and grey where it is not, which the command
            and the web page take. "vivid" is for models that predict hue.

        Returns
        -------
        (H, W, 3) float32 array, RGB in [0, 1], of the same lightness as the input, (R + G + B)/3.
        :func:`autocolor.imaging.images.to_uint8` rounds it to 8 bit.

        Raises
        ------
        ValueError, ModelError
            As :meth:`histograms`, on a method that is unknown or that the variant does not have, on
            samples without `rng`, and on a strength out of range.
        """
        options = DecodeOptions(method, hue, fading, strength, sampling, look)
        return self.predict(image).decode(options, rng)
