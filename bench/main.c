/* leat-bench: the measuring programs that have to be C. The scenarios in bench/macro run them, pin
 * them to cores and report; each prints one JSON object on stdout. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/client.h"
#include "bench/micro/path.h"
#include "bench/micro/stack.h"

enum { PATHS_MAX = 64, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: leat-bench client --connect ADDRESS:PORT [--connections N] [--seconds N] PATH…\n"
    "       leat-bench stack [--viewers N] [--active N] [--part BYTES | --playlist] [--seconds N]\n"
    "                        [--frame BYTES] [--loss PPM]\n"
    "       leat-bench burst [--viewers N] [--part BYTES]\n"
    "       leat-bench ring  [--viewers N] [--part BYTES] [--seconds N]\n"
    "       leat-bench scale [--viewers N] [--part BYTES] [--seconds N]\n"
    "       leat-bench limit [--seconds N]\n"
    "       leat-bench path  [--linux sender|receiver|both] [--contender] [--rtt US] [--loss PPM]\n"
    "                        [--reorder PPM] [--rate MBPS] [--flows N] [--seconds N] [--seed N]\n"
    "                        [--congestion cubic|reno|bbr]\n"
    "\n"
    "client  an HTTP client on kernel sockets that asks for the paths in turn\n"
    "stack   cycles of our server per packet; the in-process peer is not timed\n"
    "burst   cycles until all who wait for a part have its first bytes\n"
    "ring    server and peer on two cores over a ring port, wall clock\n"
    "scale   two shards on two queues and cores, each alone and then together: cycles per packet\n"
    "limit   the bare loop that bounds 'ring': attach, write header, enqueue; read, free, answer\n"
    "path    a transfer over an impaired path, in real time, with Linux at one or both ends\n"
    "Usually run by ./leat bench fanout and ./leat bench tcp.\n";

struct arguments {
    struct endpoint server;
    unsigned long connections;
    unsigned long seconds;
    unsigned long viewers;
    unsigned long active; /* 0: all */
    bool has_playlist;
    unsigned long part_bytes;
    unsigned long frame_bytes;
    struct path_options path;
    char *const *rest;
    int rest_count;
};

static int number_parse(const char *text, unsigned long *ret_number)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number == 0)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

/* The options of 'path' alone. */
static int path_argument_parse(int option, const char *text, struct path_options *p)
{
    unsigned long number = 0;
    bool is_zero = text != NULL && strcmp(text, "0") == 0;

    if (option == 'L') {
        p->is_sender_linux = strcmp(text, "receiver") != 0;
        p->is_receiver_linux = strcmp(text, "sender") != 0;
        return 0;
    }
    if (option == 'C') {
        p->has_contender = true;
        return 0;
    }
    if (option == 'G') {
        p->congestion = text;
        return 0;
    }
    if (!is_zero && number_parse(text, &number) < 0)
        return -EINVAL;
    switch (option) {
    case 'R':
        p->rtt_us = (uint32_t)number;
        return 0;
    case 'D':
        p->loss_ppm = (uint32_t)number;
        return 0;
    case 'o':
        p->reorder_ppm = (uint32_t)number;
        return 0;
    case 'b':
        p->rate_bps = number * 1000000;
        return 0;
    case 'F':
        p->flows = (uint32_t)number;
        return 0;
    case 'S':
        p->seed = number;
        return 0;
    default:
        return -EINVAL;
    }
}

static int arguments_parse(int argc, char **argv, struct arguments *a)
{
    static const struct option known[] = {
        {"connect", required_argument, NULL, 'c'},    {"connections", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'},    {"viewers", required_argument, NULL, 'v'},
        {"active", required_argument, NULL, 'a'},     {"playlist", no_argument, NULL, 'l'},
        {"part", required_argument, NULL, 'p'},       {"frame", required_argument, NULL, 'f'},
        {"linux", required_argument, NULL, 'L'},      {"contender", no_argument, NULL, 'C'},
        {"congestion", required_argument, NULL, 'G'}, {"rtt", required_argument, NULL, 'R'},
        {"loss", required_argument, NULL, 'D'},       {"reorder", required_argument, NULL, 'o'},
        {"rate", required_argument, NULL, 'b'},       {"flows", required_argument, NULL, 'F'},
        {"seed", required_argument, NULL, 'S'},       {NULL, 0, NULL, 0},
    };
    int err = 0;

    for (int c; err == 0 && (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'c':
            err = endpoint_parse(optarg, &a->server);
            break;
        case 'n':
            err = number_parse(optarg, &a->connections);
            break;
        case 's':
            err = number_parse(optarg, &a->seconds);
            break;
        case 'v':
            err = number_parse(optarg, &a->viewers);
            break;
        case 'a':
            err = number_parse(optarg, &a->active);
            break;
        case 'l':
            a->has_playlist = true;
            break;
        case 'p':
            err = number_parse(optarg, &a->part_bytes);
            break;
        case 'f':
            err = number_parse(optarg, &a->frame_bytes);
            break;
        default:
            err = path_argument_parse(c, optarg, &a->path);
        }
    }
    a->path.seconds = (uint32_t)a->seconds;
    a->rest = argv + optind;
    a->rest_count = argc - optind;
    return err;
}

static int run_client(const struct arguments *a)
{
    struct client_result r = {0};
    struct rlimit files;

    if (a->server.family != 4 || a->rest_count < 1 || a->rest_count > PATHS_MAX)
        return EXIT_USAGE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct client_options options = {
        .server = a->server,
        .connections = (uint32_t)a->connections,
        .seconds = (uint32_t)a->seconds,
        .paths = (const char *const *)a->rest,
        .path_count = (uint32_t)a->rest_count,
    };
    int err = client_run(&options, &r);
    if (err < 0) {
        fprintf(stderr, "leat-bench: no connection: %s\n", strerror(-err));
        return EXIT_FAILURE;
    }
    printf("{\"connected\": %lu, \"responses\": %lu, \"errors\": %lu, \"body_bytes\": %lu, "
           "\"elapsed_us\": %lu, \"latency_p50_us\": %lu, \"latency_p99_us\": %lu}\n",
           r.connected, r.responses, r.errors, r.body_bytes, r.elapsed_us, r.latency_p50_us,
           r.latency_p99_us);
    return EXIT_SUCCESS;
}

static int run_stack(const struct arguments *a, enum stack_mode mode)
{
    struct stack_options options = {
        .mode = mode,
        .viewers = (uint32_t)a->viewers,
        .active = (uint32_t)a->active,
        .has_playlist = a->has_playlist,
        .part_bytes = (uint32_t)a->part_bytes,
        .frame_bytes = (uint32_t)a->frame_bytes,
        .loss_ppm = a->path.loss_ppm,
        .seconds = (uint32_t)a->seconds,
    };

    return stack_run(&options, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arguments a = {.connections = 64,
                          .seconds = 5,
                          .viewers = 64,
                          .part_bytes = 150000,
                          .frame_bytes = 1448,
                          .path = {.rtt_us = 20000, .rate_bps = 20000000, .flows = 1, .seed = 1}};
    const char *command = argc > 1 ? argv[1] : "";
    int status = EXIT_USAGE;

    if (strcmp(command, "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc < 2 || arguments_parse(argc - 1, argv + 1, &a) < 0)
        status = EXIT_USAGE;
    else if (strcmp(command, "client") == 0)
        status = run_client(&a);
    else if (strcmp(command, "stack") == 0)
        status = run_stack(&a, STACK_COST);
    else if (strcmp(command, "burst") == 0)
        status = run_stack(&a, STACK_BURST);
    else if (strcmp(command, "ring") == 0)
        status = run_stack(&a, STACK_RING);
    else if (strcmp(command, "scale") == 0)
        status = run_stack(&a, STACK_SCALE);
    else if (strcmp(command, "limit") == 0)
        status = run_stack(&a, STACK_LIMIT);
    else if (strcmp(command, "path") == 0)
        status = path_run(&a.path, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (status == EXIT_USAGE)
        fputs(usage, stderr);
    return status;
}
