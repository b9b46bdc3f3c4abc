#include "dataplane/net/tcp/congestion.h"

#include <stddef.h>
#include <string.h>

const struct tcp_congestion_ops *tcp_congestion_find(const char *name)
{
    static const struct tcp_congestion_ops *const all[] = {&tcp_cubic, &tcp_reno, &tcp_bbr};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}
