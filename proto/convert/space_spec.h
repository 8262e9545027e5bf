// What the rules of a study ask of any kind of space.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hwnas/v1/study.pb.h"

namespace hwnas {

// "nasbench201, mobile, macro...", as a study file spells them.
std::string SpaceKinds();

// The images that the networks of a space see.
struct SpaceImages {
  // Channels, height, width as given; any number of them.
  std::vector<int> input;
  int classes = 0;
  // Sides of the square that they are scaled to, if that is searched.
  std::vector<int> resolutions;
};

// nullopt for a space without networks, or if none is given.
std::optional<SpaceImages> ImagesOf(const v1::SpaceSpec& space);

// The resolutions of an OfaSpace, or their default.
std::vector<int> OfaResolutions(const v1::OfaSpace& space);

}  // namespace hwnas
