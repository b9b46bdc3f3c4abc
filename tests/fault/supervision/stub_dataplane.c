/* A leat-dp without media: one shard with the real link on it. What it does beside is set by $STUB:
 *   ""         everything as it should
 *   stubborn   does not end when it is asked, nor at SIGTERM
 *   silent     never connects to leatd
 *   broken     ends at once with status 2
 * For each name in $STUB_ASK, "NAME=KEY ...", asks leatd once a second and appends the answer to
 * DIR/answers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/config/config.h"
#include "common/log.h"
#include "dataplane/core/shard.h"
#include "dataplane/link/link.h"

enum { PATH_SIZE = 256, ASK_INTERVAL_US = 100000 };

static struct config config;
static struct counters counters;
static struct shard shard;
static struct shard *all[] = {&shard};
static struct link *stub_link;
static struct timer ask_timer;
static char answers_path[PATH_SIZE];

static void on_answer(struct shard *s, uint64_t cookie, enum link_verdict verdict)
{
    FILE *file = fopen(answers_path, "a");

    (void)s;
    if (file == NULL)
        return;
    fprintf(file, "%llu %s\n", (unsigned long long)cookie, link_verdict_name(verdict));
    fclose(file);
}

static void ask_fired(struct timer *t, uint64_t now_us)
{
    static char list[512];
    const char *given = getenv("STUB_ASK");
    uint64_t cookie = 0;
    char *state = NULL;
    struct link_channel_report report = {
        .name = "demo", .state = LINK_CHANNEL_LIVE, .connections = 2, .bytes_in = 1000};

    wheel_arm(&shard.wheel, t, now_us + ASK_INTERVAL_US);
    link_report_channel(stub_link, &shard, &report);
    snprintf(list, sizeof(list), "%s", given == NULL ? "" : given);
    for (char *word = strtok_r(list, " ", &state); word != NULL;
         word = strtok_r(NULL, " ", &state)) {
        char *equals = strchr(word, '=');
        if (equals != NULL)
            (void)link_ask_publish(stub_link, &shard, bytes_of(word, (size_t)(equals - word)),
                                   bytes_of_str(equals + 1), on_answer, cookie++);
    }
}

/* As leat-dp does: the lock tells that we run, the text who we are. */
static void pid_file_claim(const char *run_dir)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/%s", run_dir, LINK_PID_NAME);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        exit(3);
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
        exit(1);
}

static void *signals_wait(void *set)
{
    int number = 0;

    sigwait(set, &number);
    shard_stop(&shard);
    return NULL;
}

static const char *run_dir_of(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--run-dir") == 0)
            return argv[i + 1];
    exit(2);
}

int main(int argc, char **argv)
{
    const char *mode = getenv("STUB") == NULL ? "" : getenv("STUB");
    const char *run_dir = run_dir_of(argc, argv);
    char path[PATH_SIZE];
    sigset_t set;
    pthread_t thread;

    if (strcmp(mode, "broken") == 0)
        return 2;
    pid_file_claim(run_dir);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    config_defaults(&config);
    config.net_small_blobs = 16;
    if (log_init("stub", LOG_FORMAT_HUMAN, LOG_LEVEL_INFO) < 0 ||
        shard_init(&shard, 0, 1, all, &config, &counters) < 0)
        return 1;
    snprintf(path, sizeof(path), "%s/%s", run_dir, LINK_SOCKET_NAME);
    snprintf(answers_path, sizeof(answers_path), "%s/answers", run_dir);
    if (strcmp(mode, "silent") != 0) {
        if (link_new(&shard, path, &stub_link) < 0)
            return 1;
        ask_timer.fire = ask_fired;
        wheel_arm(&shard.wheel, &ask_timer, shard.now_us);
    }
    if (strcmp(mode, "stubborn") != 0 && pthread_create(&thread, NULL, signals_wait, &set) != 0)
        return 1;
    shard_run(&shard);
    link_free(&stub_link);
    shard_fini(&shard);
    log_fini();
    return 0;
}
