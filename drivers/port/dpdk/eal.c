#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include "common/log.h"
#include "common/writer.h"
#include "drivers/port/dpdk/internal.h"

enum { ARGUMENTS_MAX = 48, TEXT_MAX = 4096, MEBIBYTE = 1 << 20 };

/* EAL keeps pointers into its arguments, so they live as long as the process. */
static struct {
    char text[TEXT_MAX];
    size_t text_size;
    char *argv[ARGUMENTS_MAX];
    int argc;
    bool is_started;
} eal;

static int add_argument(const char *format, const char *value)
{
    size_t room = sizeof(eal.text) - eal.text_size;
    char *at = eal.text + eal.text_size;
    int length = snprintf(at, room, format, value);

    if (length < 0 || (size_t)length >= room || eal.argc == ARGUMENTS_MAX)
        return -EINVAL;
    eal.argv[eal.argc++] = at;
    eal.text_size += (size_t)length + 1;
    return 0;
}

bool dpdk_is_pci(const char *device)
{
    /* [DDDD:]BB:DD.F */
    size_t length = strcspn(device, ",");

    for (size_t i = 0; i < length; i++)
        if (!isxdigit((unsigned char)device[i]) && device[i] != ':' && device[i] != '.')
            return false;
    return length > 0 && memchr(device, ':', length) != NULL;
}

/* One lcore that may run wherever this thread may: EAL must not choose for us. */
static int add_cores(void)
{
    char list[1024];
    struct writer w = writer_of(list, sizeof(list) - 1);
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return -errno;
    for (size_t core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &allowed))
            writer_printf(&w, "%s%zu", w.size == 0 ? "" : ",", core);
    if (!writer_is_ok(&w) || w.size == 0)
        return -EINVAL;
    list[w.size] = '\0';
    return add_argument("--lcores=0@(%s)", list);
}

static int add_options(const char *options)
{
    int err = 0;

    while (err == 0 && options != NULL && *options != '\0') {
        char option[256];
        size_t length = strcspn(options, " ");
        if (length >= sizeof(option))
            return -EINVAL;
        memcpy(option, options, length);
        option[length] = '\0';
        if (length > 0)
            err = add_argument("%s", option);
        options += length + strspn(options + length, " ");
    }
    return err;
}

static int build_arguments(const struct dpdk_config *config)
{
    /* The tap driver takes a kernel without its favourite queueing discipline for an error. */
    static const char *const fixed[] = {"leat", "--no-telemetry", "--log-level=5",
                                        "--log-level=pmd.net.tap:3"};
    char megabytes[32];
    int err = 0;

    eal.argc = 0;
    eal.text_size = 0;
    for (size_t i = 0; i < ARRAY_COUNT(fixed) && err == 0; i++)
        err = add_argument("%s", fixed[i]);
    if (err == 0)
        err = add_cores();
    /* No file, no socket, no shared memory is left in the system. */
    if (err == 0)
        err = add_argument("%s", config->use_hugepages ? "--in-memory" : "--no-shconf");
    if (err == 0 && !config->use_hugepages) {
        snprintf(megabytes, sizeof(megabytes), "%" PRIu64, config->memory_bytes / MEBIBYTE);
        err = add_argument("%s", "--no-huge");
        if (err == 0)
            err = add_argument("-m%s", megabytes);
    }
    if (err == 0)
        err = dpdk_is_pci(config->device) ? add_argument("-a%s", config->device)
                                          : add_argument("%s", "--no-pci");
    return err == 0 ? add_options(config->options) : err;
}

static void log_failure(const struct dpdk_config *config, int error)
{
    const char *advice = "DPDK does not start; its own messages are above";

    if (config->use_hugepages && (error == ENOMEM || error == EACCES || error == ENOENT))
        advice = "DPDK finds no hugepages: reserve some (sysctl vm.nr_hugepages=256), or set "
                 "port.hugepages to false for trying";
    else if (error == ENOMEM)
        advice = "DPDK has not enough memory: lower port.memory";
    else if (error == EPERM || error == EACCES)
        advice = "DPDK is not permitted to start: run as root";
    log_error("port", LOG_BYTES(NULL, bytes_of_str(advice)), LOG_STR("device", config->device),
              LOG_STR("error", strerror(error)));
}

int dpdk_init(const struct dpdk_config *config)
{
    cpu_set_t affinity;

    if (eal.is_started)
        return 0;
    int err =
        config->device == NULL || config->device[0] == '\0' ? -EINVAL : build_arguments(config);
    if (err < 0) {
        log_error("port", LOG_MSG("port.device or port.options is malformed"));
        return err;
    }
    int has_affinity = pthread_getaffinity_np(pthread_self(), sizeof(affinity), &affinity);
    err = rte_eal_init(eal.argc, eal.argv) < 0 ? rte_errno : 0;
    if (has_affinity == 0)
        (void)pthread_setaffinity_np(pthread_self(), sizeof(affinity), &affinity);
    if (err != 0) {
        log_failure(config, err);
        return err == ENOMEM || err == EINVAL ? -err : -EIO;
    }
    eal.is_started = true;
    return 0;
}

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void thread_end(void *unused)
{
    (void)unused;
    rte_thread_unregister();
}

static void thread_key_new(void)
{
    CHECK(pthread_key_create(&thread_key, thread_end) == 0);
}

void dpdk_adopt_thread(void)
{
    static char registered; /* only its address is used: the key's destructor needs non-NULL */

    if (rte_lcore_id() != LCORE_ID_ANY)
        return;
    pthread_once(&thread_once, thread_key_new);
    if (rte_thread_register() < 0) {
        /* Works all the same: every buffer then goes through the pool's shared ring. */
        log_warn("port", LOG_MSG("no lcore id left for this thread; packets cost more"),
                 LOG_STR("error", strerror(rte_errno)));
        return;
    }
    pthread_setspecific(thread_key, &registered);
}
