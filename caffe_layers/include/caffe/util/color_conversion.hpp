#ifndef CAFFE_UTIL_COLOR_CONVERSION_HPP_
#define CAFFE_UTIL_COLOR_CONVERSION_HPP_

#include <cmath>

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

/// a and b of CIELAB for sRGB with the D65 white (2 degrees).
template <typename Dtype>
struct LabColor {
  AUTOCOLOR_HOST_DEVICE static Dtype Linear(Dtype value) {
    return value > Dtype(0.04045) ? std::pow((value + Dtype(0.055)) / Dtype(1.055), Dtype(2.4))
                                  : value / Dtype(12.92);
  }
  AUTOCOLOR_HOST_DEVICE static Dtype Compress(Dtype ratio) {
    return ratio > Dtype(0.008856) ? std::cbrt(ratio)
                                   : Dtype(7.787) * ratio + Dtype(16) / Dtype(116);
  }
  AUTOCOLOR_HOST_DEVICE ColorPair<Dtype> operator()(Dtype red, Dtype green, Dtype blue) const {
    const Dtype r = Linear(red), g = Linear(green), b = Linear(blue);
    const Dtype x = Compress(
        (Dtype(0.412453) * r + Dtype(0.357580) * g + Dtype(0.180423) * b) / Dtype(0.95047));
    const Dtype y = Compress(Dtype(0.212671) * r + Dtype(0.715160) * g + Dtype(0.072169) * b);
    const Dtype z = Compress(
        (Dtype(0.019334) * r + Dtype(0.119193) * g + Dtype(0.950227) * b) / Dtype(1.08883));
    return {500 * (x - y), 200 * (y - z)};
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

}  // namespace caffe

#endif  // CAFFE_UTIL_COLOR_CONVERSION_HPP_
