/* refused.c - architectures that are known and refused, and why.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A model of another kind gets a sentence that says what is missing, not one about a tensor.
 * Names are compared without letter case, blanks and signs, for they are spelt in many ways. */
#include <string.h>

#include "model/network.h"

#define IMAGES "images are not supported"
#define SOUND "sound is not supported"
#define PICTURES "image generation (diffusion) is not supported"
#define FILMS "video generation (diffusion) is not supported"
#define TEXT_DIFFUSION "text diffusion is not supported"
#define STATES "state-space models of this kind are not supported"
#define RECURRENT "recurrent models of this kind are not supported"
#define EMBEDDER "this kind of embedding model is not supported"

static const struct {
    const char *names, *missing;
} refused[] = {
    {"clip mmproj siglip siglip2",
     "it is the image or audio encoder of a multimodal model (mmproj), and images and sound "
     "are not supported; the language model is a file of its own beside it"},
    {"qwen2vl qwen25vl qwen3vl qwen3vlmoe mllama vllama cogvlm phi3v phi3vision phi4mm idefics "
     "idefics2 idefics3 llava llavanext llava15 minicpmv minicpmo internvl internvl3 smolvlm "
     "lfm2vl "
     "glm4v glm4vmoe paligemma pixtral molmo moondream moondream2 kosmos2 chameleon deepseek2ocr "
     "deepseekocr paddleocr hunyuanvl janus florence2 ernie45vl kimivl",
     IMAGES},
    {"gemma3n", "images, sound and the AltUp streams of its layers are not supported"},
    {"whisper", "speech recognition is not supported"},
    {"voxtral ultravox qwen2audio qwen25omni qwen3omni qwen3omnimoe wavtokenizerdec wavtokenizer "
     "dia outetts parlertts bark musicgen moshi csm kokoro speecht5 f5tts seamless wav2vec2 "
     "encodec "
     "snac mimi",
     SOUND},
    {"flux flux2 sd1 sd2 sd3 sd35 sdxl stablediffusion stablediffusion3 qwenimage zimage chroma "
     "auraflow lumina2 pixart sana hidream kolors hunyuandit omnigen",
     PICTURES},
    {"wan hunyuanvideo ltxv ltxvideo cogvideox mochi cosmos", FILMS},
    {"dream llada lladamoe rnd1 diffucoder", TEXT_DIFFUSION},
    {"t5 t5encoder bart mbart pegasus", "models with an encoder and a decoder are not supported"},
    {"nomicbertmoe jinabertv2 jinabertv3 modernbert neobert eurobert", EMBEDDER},
    {"mamba mamba2 jamba falconh1 plamo2 nemotronh nemotronhmoe granitehybrid granitemoehybrid",
     STATES},
    {"rwkv6 rwkv7 rwkv6qwen2 arwkv7", RECURRENT},
};

static char plain(char c) {
    if (c >= 'A' && c <= 'Z') return (char)(c - 'A' + 'a');
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '\0';
}

/* The first word of `words` against the name's letters and digits. */
static bool is_word(const char *words, const char *name, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) {
        char c = plain(name[i]);
        if (c != '\0' && *words++ != c) return false;
    }
    return *words == ' ' || *words == '\0';
}

const char *spn_arch_refusal(const char *name, size_t n_bytes) {
    for (size_t i = 0; i < SPN_COUNT(refused); i++)
        for (const char *words = refused[i].names; words != NULL;) {
            if (is_word(words, name, n_bytes)) return refused[i].missing;
            words = strchr(words, ' ');
            if (words != NULL) words++;
        }
    return NULL;
}
