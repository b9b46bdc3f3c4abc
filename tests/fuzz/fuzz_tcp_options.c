/* TCP options: whatever is parsed must be writable again and read back the same. */
#include "common/check.h"
#include "dataplane/net/tcp/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tcp_options first;
    struct tcp_options again;
    uint8_t out[TCP_OPTIONS_MAX];

    if (size > TCP_OPTIONS_MAX || tcp_options_parse(bytes_of(data, size), &first) < 0)
        return 0;
    CHECK(first.sack_count <= TCP_SACK_BLOCKS_MAX && first.shift <= TCP_SHIFT_MAX);
    size_t written = tcp_options_write_syn(&first, out);
    CHECK(written <= sizeof(out) && written % 4 == 0);
    CHECK(tcp_options_parse(bytes_of(out, written), &again) == 0);
    CHECK(again.mss == first.mss && again.has_shift == first.has_shift &&
          again.shift == first.shift && again.ts_value == first.ts_value &&
          again.ts_echo == first.ts_echo && again.is_sack_permitted == first.is_sack_permitted);
    written = tcp_options_write_sack(first.sacks, first.sack_count, sizeof(out), out);
    CHECK(tcp_options_parse(bytes_of(out, written), &again) == 0);
    CHECK(again.sack_count == first.sack_count);
    return 0;
}
