#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/color_histogram_layer.hpp"
#include "caffe/layers/color_space_layer.hpp"
#include "caffe/layers/softmax_kl_divergence_loss_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

template <typename TypeParam>
class ColorLayersTest : public MultiDeviceTest<TypeParam> {};
TYPED_TEST_CASE(ColorLayersTest, TestDtypesAndDevices);

template <typename Dtype>
void Assign(Blob<Dtype>* blob, const std::vector<double>& values) {
  ASSERT_EQ(blob->count(), static_cast<int>(values.size()));
  std::copy(values.begin(), values.end(), blob->mutable_cpu_data());
}

template <typename Dtype>
void ExpectNear(const std::vector<double>& expected, const Blob<Dtype>& blob, double tolerance) {
  ASSERT_EQ(static_cast<int>(expected.size()), blob.count());
  for (int i = 0; i < blob.count(); ++i) EXPECT_NEAR(expected[i], blob.cpu_data()[i], tolerance);
}

TYPED_TEST(ColorLayersTest, TestColorSpaces) {
  typedef typename TypeParam::Dtype Dtype;
  // Red, green, blue, magenta-ish, grey, black, white; channels are B, G, R.
  Blob<Dtype> image(1, 3, 1, 7), light, color;
  Assign(&image, {0, 0, 1, 0.5, 0.25, 0, 1,  //
                  0, 1, 0, 0,   0.25, 0, 1,  //
                  1, 0, 0, 1,   0.25, 0, 1});
  LayerParameter param;
  ColorSpaceLayer<Dtype> hue_chroma(param);
  hue_chroma.SetUp({&image}, {&light, &color});
  hue_chroma.Forward({&image}, {&light, &color});
  const double third = 1. / 3;
  ExpectNear({third, third, third, 0.5, 0.25, 0, 1}, light, 1e-6);
  ExpectNear({0, third, 2 * third, 11. / 12, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0}, color, 1e-6);

  param.mutable_color_space_param()->set_color_space(ColorSpaceParameter_ColorSpace_ALPHA_BETA);
  ColorSpaceLayer<Dtype> alpha_beta(param);
  alpha_beta.SetUp({&image}, {&light, &color});
  alpha_beta.Forward({&image}, {&light, &color});
  const double unit = 1 / (third + 1e-4);
  ExpectNear({-unit / 2, -unit / 2, unit, 0, 0, 0, 0, unit, -unit, 0, 1 / 0.5001, 0, 0, 0}, color,
             1e-5);

  param.mutable_color_space_param()->set_color_space(ColorSpaceParameter_ColorSpace_LAB);
  ColorSpaceLayer<Dtype> lab(param);
  lab.SetUp({&image}, {&light, &color});
  lab.Forward({&image}, {&light, &color});
  // Published values of the sRGB primaries under D65, to their printed digits.
  const double a[] = {80.09, -86.18, 79.19}, b[] = {67.20, 83.18, -107.86};
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(a[i], color.cpu_data()[i], 0.02);
    EXPECT_NEAR(b[i], color.cpu_data()[7 + i], 0.02);
  }
  for (int i = 4; i < 7; ++i) {  // D65 is rounded to five digits in the conversion
    EXPECT_NEAR(0, color.cpu_data()[i], 0.02);
    EXPECT_NEAR(0, color.cpu_data()[7 + i], 0.02);
  }
}

TYPED_TEST(ColorLayersTest, TestHistograms) {
  typedef typename TypeParam::Dtype Dtype;
  Blob<Dtype> color(1, 1, 2, 3), locations(std::vector<int>{1, 4, 2}), top;
  Assign(&color, {0, 0.25, 0.49, 0.5, 1, 7});
  Assign(&locations, {0, 0, 0.6, 0.4, -9, 99, 1, 1});
  locations.mutable_cpu_data()[6] = std::numeric_limits<Dtype>::quiet_NaN();  // row 0
  LayerParameter param;
  param.mutable_color_histogram_param()->set_bins(4);
  ColorHistogramLayer<Dtype> one_hot(param);
  one_hot.SetUp({&color, &locations}, {&top});
  one_hot.Forward({&color, &locations}, {&top});
  ExpectNear({1, 0, 0, 0,  //
              0, 0, 1, 0,  // pixel (1, 0): 0.5 lies on an edge and belongs to the bin above
              0, 1, 0, 0,  // clamped to (0, 2)
              0, 1, 0, 0},
             top, 0);

  param.mutable_color_histogram_param()->set_region(3);
  ColorHistogramLayer<Dtype> region(param);
  region.SetUp({&color, &locations}, {&top});
  region.Forward({&color, &locations}, {&top});
  const double sixth = 1. / 6;
  ExpectNear({0.25, 0.25, 0.25, 0.25,  // 2 x 2 pixels at the corner
              0.25, 0.25, 0.25, 0.25,  //
              0, 0.5, 0, 0.5,          //
              sixth, 2 * sixth, sixth, 2 * sixth},
             top, 1e-6);

  // Quantiles of N(0, 25^2) for four bins: -16.862, 0, 16.862.
  Assign(&color, {-100, -16.87, -16.85, 0, 16.85, 16.87});
  Assign(&locations, {0, 0, 0, 1, 0, 2, 1, 0});
  param.Clear();
  param.mutable_color_histogram_param()->set_bins(4);
  param.mutable_color_histogram_param()->set_binning(
      ColorHistogramParameter_Binning_GAUSSIAN_QUANTILE);
  ColorHistogramLayer<Dtype> quantile(param);
  quantile.SetUp({&color, &locations}, {&top});
  quantile.Forward({&color, &locations}, {&top});
  ExpectNear({1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, top, 0);

  // NaN is no colour: a pixel of it is not counted, and nothing but it leaves an empty histogram.
  color.mutable_cpu_data()[0] = std::numeric_limits<Dtype>::quiet_NaN();
  Assign(&locations, {0, 0, 0, 1, 0, 2, 1, 0});
  quantile.Forward({&color, &locations}, {&top});
  ExpectNear({0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, top, 0);

  Blob<Dtype> pair(1, 2, 1, 2), two(std::vector<int>{1, 2, 2});
  Assign(&pair, {0.1, 0.9, 0.9, 0.6});
  Assign(&two, {0, 0, 0, 1});
  param.Clear();
  param.mutable_color_histogram_param()->set_bins(2);
  param.mutable_color_histogram_param()->set_joint(true);
  ColorHistogramLayer<Dtype> joint(param);
  joint.SetUp({&pair, &two}, {&top});
  joint.Forward({&pair, &two}, {&top});
  ExpectNear({0, 1, 0, 0, 0, 0, 0, 1}, top, 0);

  // Rows (image, y, x), the second of three images first, and none of the first.
  Blob<Dtype> images(3, 1, 1, 2), rows(std::vector<int>{3, 3});
  Assign(&images, {0, 0, 0.25, 0.5, 0.75, 1});
  Assign(&rows, {1, 0, 1, 2, 0, 0, 1, 9, -9});
  param.Clear();
  param.mutable_color_histogram_param()->set_bins(4);
  ColorHistogramLayer<Dtype> of_rows(param);
  of_rows.SetUp({&images, &rows}, {&top});
  of_rows.Forward({&images, &rows}, {&top});
  EXPECT_EQ("3 4 (12)", top.shape_string());
  ExpectNear({0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0}, top, 0);
}

TYPED_TEST(ColorLayersTest, TestLossLiteral) {
  typedef typename TypeParam::Dtype Dtype;
  Blob<Dtype> logits(std::vector<int>{3, 2}), target(std::vector<int>{3, 2}),
      weight(std::vector<int>{3, 1}), loss(std::vector<int>{});
  Assign(&logits, {0, 0, 1000, 0, 5, 6});
  Assign(&target, {1, 0, 0.5, 0.5, 0, 0});  // the last row is ignored
  Assign(&weight, {2, 0.1, 9});
  LayerParameter param;
  SoftmaxKLDivergenceLossLayer<Dtype> plain(param);
  plain.SetUp({&logits, &target}, {&loss});
  plain.Forward({&logits, &target}, {&loss});
  const double ln2 = std::log(2.);
  EXPECT_NEAR((ln2 + 500 - ln2) / 2, loss.cpu_data()[0], 1e-3);

  param.mutable_softmax_kl_divergence_loss_param()->set_divergence(
      SoftmaxKLDivergenceLossParameter_Divergence_CROSS_ENTROPY);
  const LossParameter_NormalizationMode modes[] = {
      LossParameter_NormalizationMode_VALID, LossParameter_NormalizationMode_FULL,
      LossParameter_NormalizationMode_BATCH_SIZE, LossParameter_NormalizationMode_NONE};
  const double normalizers[] = {2, 3, 3, 1};
  for (int i = 0; i < 4; ++i) {
    param.mutable_loss_param()->set_normalization(modes[i]);
    SoftmaxKLDivergenceLossLayer<Dtype> weighted(param);
    weighted.SetUp({&logits, &target, &weight}, {&loss});
    weighted.Forward({&logits, &target, &weight}, {&loss});
    EXPECT_NEAR((2 * ln2 + 0.1 * 500) / normalizers[i], loss.cpu_data()[0], 1e-3);
  }
}

TYPED_TEST(ColorLayersTest, TestLossGradient) {
  typedef typename TypeParam::Dtype Dtype;
  Blob<Dtype> logits(std::vector<int>{5, 4}), target(std::vector<int>{5, 4}),
      weight(std::vector<int>{5}), loss(std::vector<int>{});
  Caffe::set_random_seed(1701);
  GaussianFiller<Dtype>(FillerParameter()).Fill(&logits);
  UniformFiller<Dtype>(FillerParameter()).Fill(&target);
  UniformFiller<Dtype>(FillerParameter()).Fill(&weight);
  for (int m = 0; m < 5; ++m) {  // histograms, one of them empty, one of them one-hot
    Dtype* row = target.mutable_cpu_data() + 4 * m;
    const Dtype sum = row[0] + row[1] + row[2] + row[3];
    for (int k = 0; k < 4; ++k) row[k] = m == 0 ? 0 : m == 1 ? k == 2 : row[k] / sum;
  }
  LayerParameter param;
  param.add_loss_weight(3);
  SoftmaxKLDivergenceLossLayer<Dtype> layer(param);
  GradientChecker<Dtype> checker(1e-2, 1e-2);
  checker.CheckGradientExhaustive(&layer, {&logits, &target, &weight}, {&loss}, 0);
}

TEST(ColorLayersDeathTest, TestLossOfBadValues) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Blob<float> logits(std::vector<int>{2, 2}), target(std::vector<int>{2, 2}),
      weight(std::vector<int>{2}), loss(std::vector<int>{});
  LayerParameter param;
  param.set_name("kl");
  SoftmaxKLDivergenceLossLayer<float> layer(param);
  layer.SetUp({&logits, &target, &weight}, {&loss});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Assign(&logits, {0, 0, 0, nan});
  Assign(&target, {0, 1, 0, 1});
  Assign(&weight, {1, 1});
  EXPECT_DEATH(layer.Forward({&logits, &target, &weight}, {&loss}),
               "layer kl: logits of row 1 expected finite numbers, got -?nan");
  Assign(&target, {0, 1, 0, 0});  // the row is ignored
  layer.Forward({&logits, &target, &weight}, {&loss});
  EXPECT_NEAR(std::log(2.), loss.cpu_data()[0], 1e-6);
  loss.mutable_cpu_diff()[0] = 1;
  layer.Backward({&loss}, {true, false, false}, {&logits, &target, &weight});
  EXPECT_EQ(0, logits.cpu_diff()[3]);
  Assign(&logits, {0, 0, 0, 0});
  Assign(&target, {1.5, -0.5, 0, 1});
  EXPECT_DEATH(layer.Forward({&logits, &target, &weight}, {&loss}),
               "layer kl: targets of row 0 expected a histogram .*, got -0.5");
  Assign(&target, {1, 0, 0, 1});
  Assign(&weight, {1, nan});
  EXPECT_DEATH(layer.Forward({&logits, &target, &weight}, {&loss}),
               "layer kl: weight of row 1 expected a finite number, got -?nan");
}

TEST(ColorLayersDeathTest, TestMessages) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Blob<float> grey(1, 1, 2, 2), locations(std::vector<int>{1, 3, 2}), top, other;
  LayerParameter param;
  param.set_name("target");
  EXPECT_DEATH(ColorSpaceLayer<float>(param).SetUp({&grey}, {&top, &other}),
               "layer target: image expected shape \\(N, 3, H, W\\)");
  LayerParameter joint = param, empty = param, range = param, sigma = param, region = param;
  joint.mutable_color_histogram_param()->set_joint(true);
  empty.mutable_color_histogram_param()->set_bins(0);
  range.mutable_color_histogram_param()->set_maximum(0);
  sigma.mutable_color_histogram_param()->set_binning(
      ColorHistogramParameter_Binning_GAUSSIAN_QUANTILE);
  sigma.mutable_color_histogram_param()->set_sigma(-1);
  region.mutable_color_histogram_param()->set_region(0);
  Blob<float> rows(std::vector<int>{2, 3});
  rows.mutable_cpu_data()[3] = grey.shape(0);
  ColorHistogramLayer<float> of_rows(param);
  of_rows.SetUp({&grey, &rows}, {&top});
  EXPECT_DEATH(of_rows.Forward({&grey, &rows}, {&top}),
               "row 1 of the locations expected an image from 0 to");
  EXPECT_DEATH(ColorHistogramLayer<float>(joint).SetUp({&grey, &locations}, {&top}),
               "layer target: colour expected shape \\(N, 2, H, W\\)");
  EXPECT_DEATH(ColorHistogramLayer<float>(empty).SetUp({&grey, &locations}, {&top}),
               "layer target: bins expected 1 to 2147483647, got 0");
  EXPECT_DEATH(
      ColorHistogramLayer<float>(range).SetUp({&grey, &locations}, {&top}),
      "layer target: minimum and maximum expected finite numbers in this order, got 0 and 0");
  EXPECT_DEATH(ColorHistogramLayer<float>(sigma).SetUp({&grey, &locations}, {&top}),
               "layer target: sigma expected a positive number, got -1");
  EXPECT_DEATH(ColorHistogramLayer<float>(region).SetUp({&grey, &locations}, {&top}),
               "layer target: region expected 1 to 2147483647, got 0");
  Blob<float> logits(std::vector<int>{4, 3}), target(std::vector<int>{4, 2});
  Blob<float> weight(std::vector<int>{5});
  EXPECT_DEATH(SoftmaxKLDivergenceLossLayer<float>(param).SetUp({&logits, &target}, {&top}),
               "layer target: targets expected the shape of the logits 4 3");
  EXPECT_DEATH(
      SoftmaxKLDivergenceLossLayer<float>(param).SetUp({&logits, &logits, &weight}, {&top}),
      "layer target: weights expected shape \\(4\\)");
}

}  // namespace caffe
