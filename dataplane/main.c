/* leat-dp: the data plane's process. Reads its configuration, starts the shards, waits for a
 * signal. Exit status: 0 stopped, 1 cannot start, 2 bad usage or configuration, 3 already
 * running in this run directory. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/config/config.h"
#include "common/log.h"
#include "dataplane/node.h"

enum { EXIT_USAGE = 2, EXIT_RUNNING = 3, CONFIG_FILE_MAX = 1 << 20, PATH_SIZE_MAX = 4096 };

struct options {
    const char *config_file; /* NULL: defaults */
    const char *check_file;  /* NULL: run */
    const char *print_file;  /* NULL: run */
    const char *run_dir;
    const char *net_mode; /* NULL: as configured */
};

static const char usage[] =
    "usage: leat-dp [--config FILE] [--run-dir DIR] [--net auto|uring|dpdk]\n"
    "       leat-dp --check-config FILE\n"
    "       leat-dp --print-config FILE\n"
    "       leat-dp --write-config\n"
    "\n"
    "The data plane. Usually started and supervised by leatd, which it asks through\n"
    "DIR/link.sock who may publish. --check-config reads FILE, prints what is wrong with it\n"
    "and exits with 2, or prints \"FILE: ok\". --print-config prints what is in effect with FILE,\n"
    "\"section.key: value\" a line. --write-config prints every key with its default.\n";

/* NULL: every key with its default, as a file; else what is in effect. An exit status. */
static int print_config(const struct config *cfg)
{
    static char text[CONFIG_FILE_MAX];
    int size = cfg == NULL ? config_write_default(text, sizeof(text))
                           : config_write_settings(cfg, text, sizeof(text));

    if (size < 0 || fwrite(text, 1, (size_t)size, stdout) != (size_t)size)
        return EXIT_FAILURE;
    return EXIT_SUCCESS;
}

/* Returns -1 to go on, or the exit status. */
static int options_parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", required_argument, NULL, 'k'},
        {"print-config", required_argument, NULL, 'p'},
        {"run-dir", required_argument, NULL, 'r'},
        {"net", required_argument, NULL, 'n'},
        {"write-config", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'c':
            o->config_file = optarg;
            break;
        case 'k':
            o->check_file = optarg;
            break;
        case 'p':
            o->print_file = optarg;
            break;
        case 'r':
            o->run_dir = optarg;
            break;
        case 'n':
            o->net_mode = optarg;
            break;
        case 'w':
            return print_config(NULL);
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "leat-dp: unexpected argument '%s'\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    return -1;
}

/* 0, or -1 with the reason on stderr. */
static int config_load(const char *file, struct config *cfg)
{
    char error[CONFIG_ERROR_MAX];

    if (config_read_file(file, cfg, error) < 0) {
        fprintf(stderr, "leat-dp: %s\n", error);
        return -1;
    }
    return 0;
}

/* Holds DIR/leat-dp.pid for the process's life. The descriptor; -EWOULDBLOCK when another
 * leat-dp holds it; or -errno. */
static int run_dir_claim(const char *run_dir)
{
    char path[PATH_SIZE_MAX];

    if (snprintf(path, sizeof(path), "%s/leat-dp.pid", run_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0 ||
        dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int log_start(const struct config *cfg)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    bool is_json = strcmp(cfg->log_format.text, "json") == 0;

    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(cfg->log_level.text, levels[i]) == 0)
            return log_init("leat-dp", is_json ? LOG_FORMAT_JSON : LOG_FORMAT_HUMAN,
                            (enum log_level)i);
    return -EINVAL;
}

/* Blocks the signals that end us, so that sigwait() below gets them; threads inherit it. */
static sigset_t signals_block(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static int run(const struct config *cfg, const struct options *o)
{
    enum net_mode mode;
    const char *why;
    struct node *node = NULL;
    sigset_t signals = signals_block();
    int signal_number = 0;

    if (node_choose_mode(cfg, &mode, &why) < 0) {
        fprintf(stderr,
                "leat-dp: net.mode is '%s': want auto, uring, or dpdk (with port.device set)\n",
                cfg->net_mode.text);
        return EXIT_USAGE;
    }
    int claim = run_dir_claim(o->run_dir);
    if (claim < 0) {
        fprintf(stderr, "leat-dp: %s/leat-dp.pid: %s\n", o->run_dir,
                claim == -EWOULDBLOCK ? "another leat-dp is running here" : strerror(-claim));
        return claim == -EWOULDBLOCK ? EXIT_RUNNING : EXIT_FAILURE;
    }
    if (log_start(cfg) < 0) {
        fprintf(stderr, "leat-dp: cannot start the log\n");
        return EXIT_FAILURE;
    }
    log_info("node", LOG_MSG("starting"), LOG_STR("net", mode == NET_MODE_DPDK ? "dpdk" : "uring"),
             LOG_STR("because", why), LOG_INT("shards", cfg->shards_count));

    int err = node_new(cfg, mode, o->run_dir, &node);
    if (err == 0)
        err = node_start(node);
    if (err == 0) {
        log_info("node", LOG_MSG("ready"));
        sigwait(&signals, &signal_number);
        log_info("node", LOG_MSG("stopping"), LOG_INT("signal", signal_number));
        node_stop(node);
    }
    node_free(&node);
    log_fini();
    close(claim);
    return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct config cfg;
    struct options options = {.run_dir = "/run/leat"};
    int status = options_parse(argc, argv, &options);

    if (status >= 0)
        return status;
    config_defaults(&cfg);
    if (options.check_file != NULL) {
        if (config_load(options.check_file, &cfg) < 0)
            return EXIT_USAGE;
        printf("%s: ok\n", options.check_file);
        return EXIT_SUCCESS;
    }
    if (options.print_file != NULL)
        return config_load(options.print_file, &cfg) < 0 ? EXIT_USAGE : print_config(&cfg);
    if (options.config_file != NULL && config_load(options.config_file, &cfg) < 0)
        return EXIT_USAGE;
    if (options.net_mode != NULL)
        snprintf(cfg.net_mode.text, sizeof(cfg.net_mode.text), "%s", options.net_mode);
    /* The stream keys are leatd's business: not in this process's memory longer than needed. */
    explicit_bzero(cfg.channels, sizeof(cfg.channels));
    cfg.channel_count = 0;
    return run(&cfg, &options);
}
