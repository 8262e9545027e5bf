// How far two lists of numbers rise and fall together.
#pragma once

#include <vector>

namespace hwnas {

// Pearson's correlation of two lists of one length; 0 if one of them is
// constant.
double PearsonCorrelation(const std::vector<double>& a,
                          const std::vector<double>& b);

// Spearman's: Pearson's of the ranks, equal values sharing their mean rank.
double SpearmanCorrelation(const std::vector<double>& a,
                           const std::vector<double>& b);

}  // namespace hwnas
