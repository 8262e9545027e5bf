// A management library of two cards, loaded by nvml_test.cc. What goes wrong is
// chosen by $FAKE_NVML; how much power the cards take, by how often they were
// asked.
#include <stdlib.h>
#include <string.h>

static int Is(const char* fault) {
  const char* wanted = getenv("FAKE_NVML");
  return wanted != NULL && strcmp(wanted, fault) == 0;
}

int nvmlInit_v2(void) { return Is("init") ? 9 : 0; }
int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = Is("none") ? 0 : 2;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** card) {
  static char cards[2];
  if (Is("handle") && index == 1) return 4;
  *card = &cards[index];
  return 0;
}

int nvmlDeviceGetPowerUsage(void* card, unsigned int* milliwatts) {
  (void)card;
  if (Is("power")) return 3;
  *milliwatts = Is("zero") ? 0 : 61500;
  return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void* card,
                                        unsigned long long* millijoules) {
  static unsigned long long count;
  (void)card;
  if (Is("no counter") || Is("power") || Is("zero")) return 3;
  count += 1000;
  *millijoules = 50000000 + (Is("reset") && count > 4000 ? 0 : count);
  return 0;
}
