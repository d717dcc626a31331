#include "onednn/convolution_choice.hpp"

#include <cstring>

namespace caffe {

namespace {

// The smallest values of each class: a convolution takes the class below it.
const int kChannelClasses[] = {1, 4, 16, 64, 256};
const int kTileClasses[] = {1, 4, 16, 64, 256, 1024};
const int kSizes = sizeof(kChannelClasses) / sizeof(kChannelClasses[0]);

// By pass, channels and outputs a letter for each class of tiles: 'w' where Winograd's algorithm is
// the faster one.
struct Choices {
  const char* instructions;
  const char* faster[4][kSizes][kSizes];
};

const Choices kChoices[] = {
#include "onednn/convolution_choice.inc"
};

template <int kCount>
int Class(const int (&classes)[kCount], int64_t value) {
  int found = 0;
  while (found + 1 < kCount && classes[found + 1] <= value) ++found;
  return found;
}

}  // namespace

bool WinogradIsFaster(ConvolutionPass pass, const Winograd::Shape& shape) {
  const int channels = Class(kChannelClasses, shape.channels);
  const int outputs = Class(kChannelClasses, shape.outputs);
  const int tiles = Class(kTileClasses, shape.tiles());
  for (const Choices& choices : kChoices) {
    if (std::strcmp(choices.instructions, Winograd::Name()) == 0) {
      return choices.faster[static_cast<int>(pass)][channels][outputs][tiles] == 'w';
    }
  }
  return false;
}

}  // namespace caffe
