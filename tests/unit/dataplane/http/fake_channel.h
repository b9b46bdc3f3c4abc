/* fake_channel.h - channel.h for readers, with media made by hand (see http_world.h). */
#ifndef TESTS_HTTP_FAKE_CHANNEL_H
#define TESTS_HTTP_FAKE_CHANNEL_H

struct channels;
struct world;

struct channels *fake_channels_new(struct world *w);
void fake_channels_free(struct channels **channels);

#endif
