/* One target under libFuzzer; the environment's FUZZ_TARGET is its name. */
#include <stdlib.h>

#include "base/assert.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_target *target;
    if (!target) {
        const char *name = getenv("FUZZ_TARGET");
        target = fuzz_target_find(name ? name : "");
    }
    ASSERT(target);
    if (size <= FUZZ_INPUT_BYTES_MAX)
        target->run(slice_of(data, size));
    return 0;
}
