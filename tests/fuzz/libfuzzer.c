/* One target under libFuzzer; FUZZ_TARGET is its name. */
#include "base/assert.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_target *target;
    if (!target)
        target = fuzz_target_find(FUZZ_TARGET);
    ASSERT(target);
    if (size <= FUZZ_INPUT_BYTES_MAX)
        target->run(slice_of(data, size));
    return 0;
}
