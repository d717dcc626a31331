#ifndef CAFFE_UTIL_COLOR_CONVERSION_HPP_
#define CAFFE_UTIL_COLOR_CONVERSION_HPP_

#include <cmath>
#include <cstdint>

#include "caffe/util/host_device.hpp"

namespace caffe {

/// Two colour channels of a pixel.
template <typename Dtype>
struct ColorPair {
  Dtype first;
  Dtype second;
};

/// Lightness, section 3.1: L = (R + G + B) / 3.
template <typename Dtype>
AUTOCOLOR_HOST_DEVICE inline Dtype Lightness(Dtype red, Dtype green, Dtype blue) {
  return (red + green + blue) / 3;
}

/// Hue of HSV in [0, 1) (0 for greys) and chroma, the largest minus the smallest of R, G and B.
template <typename Dtype>
struct HueChroma {
  AUTOCOLOR_HOST_DEVICE ColorPair<Dtype> operator()(Dtype red, Dtype green, Dtype blue) const {
    const Dtype largest = red > green ? (red > blue ? red : blue) : (green > blue ? green : blue);
    const Dtype smallest = red < green ? (red < blue ? red : blue) : (green < blue ? green : blue);
    const Dtype chroma = largest - smallest;
    if (!(chroma > 0)) {
      return {Dtype(0), Dtype(0)};
    }
    Dtype sextant;
    if (largest == red) {
      sextant = (green - blue) / chroma;
    } else if (largest == green) {
      sextant = (blue - red) / chroma + 2;
    } else {
      sextant = (red - green) / chroma + 4;
    }
    Dtype hue = sextant / 6;
    if (hue < 0) {
      hue += 1;
    }
    return {hue < 1 ? hue : Dtype(0), chroma};
  }
};

/// a and b of CIELAB for sRGB with the D65 white (2 degrees). Computed in double: a and b are
/// differences of cube roots times 500 and 200, which would cost a float two of its digits.
template <typename Dtype>
struct LabColor {
  AUTOCOLOR_HOST_DEVICE static double Linear(double value) {
    return value > 0.04045 ? std::pow((value + 0.055) / 1.055, 2.4) : value / 12.92;
  }
  AUTOCOLOR_HOST_DEVICE static double Compress(double ratio) {
    return ratio > 0.008856 ? std::cbrt(ratio) : 7.787 * ratio + 16. / 116;
  }
  AUTOCOLOR_HOST_DEVICE ColorPair<Dtype> operator()(Dtype red, Dtype green, Dtype blue) const {
    const double r = Linear(red), g = Linear(green), b = Linear(blue);
    const double x = Compress((0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.95047);
    const double y = Compress(0.212671 * r + 0.715160 * g + 0.072169 * b);
    const double z = Compress((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883);
    return {static_cast<Dtype>(500 * (x - y)), static_cast<Dtype>(200 * (y - z))};
  }
};

/// alpha and beta of Eq. 9.
template <typename Dtype>
struct AlphaBeta {
  AUTOCOLOR_HOST_DEVICE ColorPair<Dtype> operator()(Dtype red, Dtype green, Dtype blue) const {
    const Dtype denominator = Lightness(red, green, blue) + Dtype(0.0001);
    return {(blue - (red + green) / 2) / denominator, (red - green) / denominator};
  }
};

/// One pixel of a BGR image (N, 3, H, W) to lightness (N, 1, H, W) and colour (N, 2, H, W); `index`
/// runs over the pixels of all images.
template <typename Dtype, typename Convert>
struct SplitColor {
  int plane;
  const Dtype* bgr;
  Dtype* lightness;
  Dtype* color;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t image = index / plane, pixel = index % plane;
    const Dtype* in = bgr + image * 3 * plane + pixel;
    const Dtype blue = in[0], green = in[plane], red = in[2 * static_cast<int64_t>(plane)];
    const ColorPair<Dtype> converted = Convert()(red, green, blue);
    lightness[index] = Lightness(red, green, blue);
    color[image * 2 * plane + pixel] = converted.first;
    color[(image * 2 + 1) * plane + pixel] = converted.second;
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_COLOR_CONVERSION_HPP_
