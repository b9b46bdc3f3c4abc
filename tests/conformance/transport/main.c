#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/transport/fixture.h"

/* Runs the transport cases over one provider. */
int main(int argc, char **argv)
{
    static const struct provider *const providers[] = {
        &provider_sim, &provider_sim_offload, &provider_sim_lossy, &provider_uring,
        &provider_tap, &provider_af_packet,   &provider_af_xdp,
    };

    for (size_t i = 0; argc == 2 && i < sizeof(providers) / sizeof(providers[0]); i++)
        if (strcmp(argv[1], providers[i]->name) == 0)
            return cases_run(providers[i]);
    fprintf(stderr, "usage: %s PROVIDER\n", argv[0]);
    return 2;
}
