/* tok_pre.c - cutting a text into words as each byte-level vocabulary was trained.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A model's tokenizer.json has a list of patterns. Each of them cuts every piece that the one
 * before left: the matches become pieces, and so does what lies between them. The patterns are
 * facts of the models; `tokenizer.ggml.pre` names them.
 *
 * Here they are as the models' own files have them; llama.cpp, whose matcher lacks classes by case,
 * simplifies some (see tokenizer.h).
 *
 * Character classes are written out: `\s` of PCRE2 takes in U+180E, which is no white space any
 * more, and PCRE2 10.42 knows Unicode 14, while vocabularies are trained with newer tables, so each
 * class adds what 15.0 and 15.1 brought.
 *
 * Where a pattern repeats a group, it is possessive: nothing can follow that would need a shorter
 * match, and the matcher's stack stays flat for a word of any length.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdatomic.h>
#include <string.h>

#include "text/tok_internal.h"

/* ---- classes, for use inside [] ---- */

#define LU "\\p{Lu}"
#define LT "\\p{Lt}"
#define LL "\\p{Ll}\\x{1DF25}-\\x{1DF2A}"
#define LM "\\p{Lm}\\x{1E030}-\\x{1E06D}\\x{1E4EB}"
#define LO                                                                               \
    "\\p{Lo}\\x{1123F}-\\x{11240}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}"   \
    "\\x{1342F}\\x{13441}-\\x{13446}\\x{1B132}\\x{1B155}\\x{1E4D0}-\\x{1E4EA}\\x{2B739}" \
    "\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define L                                                                                \
    "\\p{L}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}\\x{1E4EB}"                         \
    "\\x{1123F}-\\x{11240}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}"          \
    "\\x{1342F}\\x{13441}-\\x{13446}\\x{1B132}\\x{1B155}\\x{1E4D0}-\\x{1E4EA}\\x{2B739}" \
    "\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define M                                                                                  \
    "\\p{M}\\x{CF3}\\x{ECE}\\x{10EFD}-\\x{10EFF}\\x{11241}\\x{11F00}-\\x{11F01}\\x{11F03}" \
    "\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{13440}\\x{13447}-\\x{13455}\\x{1E08F}"  \
    "\\x{1E4EC}-\\x{1E4EF}"
#define DIGIT "\\p{Nd}\\x{11F50}-\\x{11F59}\\x{1E4F0}-\\x{1E4F9}"
#define N "\\p{N}\\x{11F50}-\\x{11F59}\\x{1E4F0}-\\x{1E4F9}\\x{1D2C0}-\\x{1D2D3}"
#define P "\\p{P}\\x{11B00}-\\x{11B09}\\x{11F43}-\\x{11F4F}"
#define S                                                                                    \
    "\\p{S}\\x{2FFC}-\\x{2FFF}\\x{31EF}\\x{1F6DC}\\x{1F774}-\\x{1F776}\\x{1F77B}-\\x{1F77F}" \
    "\\x{1F7D9}\\x{1FA75}-\\x{1FA77}\\x{1FA87}-\\x{1FA88}\\x{1FAAD}-\\x{1FAAF}"              \
    "\\x{1FABB}-\\x{1FABD}\\x{1FABF}\\x{1FACE}-\\x{1FACF}\\x{1FADA}-\\x{1FADB}\\x{1FAE8}"    \
    "\\x{1FAF7}-\\x{1FAF8}"
#define W                                                                                    \
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}" \
    "\\x{3000}"
#define CJK_AND_KANA "\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}"
#define UPPER LU LT LM LO M /* what may stand before a word's first small letter */
#define LOWER LL LM LO M

/* ---- parts ---- */

#define SUFFIX "'s|'t|'re|'ve|'m|'ll|'d" /* English contractions */
#define SUFFIX_ANY_CASE "(?i:" SUFFIX ")"
#define NO_BLANK_NEXT "(?![^" W "])"
#define WORD "[^\\r\\n" L N "]?[" L "]+"
#define SIGNS " ?[^" W L N "]+[\\r\\n]*"
#define SPACES "[" W "]*[\\r\\n]+|[" W "]+" NO_BLANK_NEXT "|[" W "]+"
#define CASED_WORD(suffix)                                                                     \
    "[^\\r\\n" L N "]?[" UPPER "]*[" LOWER "]+" suffix "|[^\\r\\n" L N "]?[" UPPER "]+[" LOWER \
    "]*" suffix "|"
#define ASCII_SIGN_WORD "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
#define MARKED_WORD "[^\\r\\n" L P S "]?[" L M "]+"

#define GPT2 SUFFIX "| ?[" L "]+| ?[" N "]+| ?[^" W L N "]+|[" W "]+" NO_BLANK_NEXT
#define LLAMA3 SUFFIX_ANY_CASE "|" WORD "|[" N "]{1,3}|" SIGNS "|" SPACES
#define QWEN2 SUFFIX_ANY_CASE "|" WORD "|[" N "]|" SIGNS "|" SPACES
#define DEEPSEEK3 ASCII_SIGN_WORD "|" MARKED_WORD "| ?[" P S "]+[\\r\\n]*|" SPACES
#define BLOOM " ?[^(" W "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* Letters with case, as DeepSeek-LLM lists them. */
#define DEEPSEEK_LETTERS                                                                        \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"              \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"      \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"               \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}" \
    "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}"              \
    "\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"              \
    "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}"      \
    "\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}"     \
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}"              \
    "\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}"      \
    "\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}"      \
    "\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"                \
    "\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}"               \
    "\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}"              \
    "\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"              \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"          \
    "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"      \
    "\\x{1E900}-\\x{1E943}"
#define DEEPSEEK_CJK "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

/* Kimi K2: words of its own script, never with Han in them. [A-B] of two classes less Han is not
 * to be had, so each character is looked at; see CASED_WORD for what the two branches say. A run of
 * UPPER that a small letter follows is taken with its LOWER run; else LOWER+ can only be the last
 * character of the run that both classes have, and everything up to it is taken. */
#define NOT_HAN(class) "(?:(?!\\p{sc:Han})[" class "])"
#define KIMI_WORD                                                                \
    "[^\\r\\n" L N "]?(?:" NOT_HAN(UPPER) "*+[" LL "]" NOT_HAN(                  \
        LOWER) "*+"                                                              \
               "|(?:[" LU LT "]*+" NOT_HAN(LM LO M) "++)++)" SUFFIX_ANY_CASE "?" \
                                                    "|[^\\r\\n" L N              \
                                                    "]?" NOT_HAN(UPPER) "++" SUFFIX_ANY_CASE "?"
#define KIMI "\\p{sc:Han}+|" KIMI_WORD "|[" N "]{1,3}|" SIGNS "|" SPACES

/* ---- the patterns of each family, in order ---- */

/* A pattern behind one of these cuts each of its matches, a run of digits, in threes from the
 * right. ATTACHED: what is left of the first three stays with the piece before. */
#define THREES "\1"
#define THREES_ATTACHED "\2"

typedef const char *const patterns[6];

static patterns gpt2 = {GPT2};
static patterns llama3 = {LLAMA3};
static patterns qwen2 = {QWEN2};
static patterns qwen35 = {SUFFIX_ANY_CASE "|[^\\r\\n" L N "]?[" L M "]+|[" N "]| ?[^" W L M N
                                          "]+[\\r\\n]*|" SPACES};
static patterns standard = {"[" P "$+<=>^~|]+", GPT2, "[" N "]+", "[0-9][0-9][0-9]"};
static patterns deepseek_llm = {
    "[\\r\\n]",
    "[" W "]?[" DEEPSEEK_LETTERS "]+",
    "[" W "]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
    "[" W "]+$",
    DEEPSEEK_CJK,
    "[" N "]+"};
static patterns deepseek_coder = {"[\\r\\n]", "[" W "]?[" L "]+", "[" W "]?[" P "]+", DEEPSEEK_CJK,
                                  "[" N "]"};
static patterns deepseek3 = {"[" N "]{1,3}", "[" CJK_AND_KANA "]+", DEEPSEEK3};
static patterns spark25 = {"[" N "]{1,3}", "[" CJK_AND_KANA "]+",
                           ASCII_SIGN_WORD "|" MARKED_WORD "| ?[" P S "]+|[\\r\\n]|[" W
                                           "]+" NO_BLANK_NEXT "|[" W "]+",
                           "[" N "]"};
static patterns falcon = {"[" P "$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"};
static patterns starcoder = {"[" N "]", GPT2};
static patterns bloom = {BLOOM};
static patterns viking = {BLOOM, "[" N "]"};
static patterns tekken = {CASED_WORD("") "[" N "]| ?[^" W L N "]+[\\r\\n/]*|" SPACES};
static patterns gpt4o = {CASED_WORD(SUFFIX_ANY_CASE "?") "[" N "]{1,3}| ?[^" W L N
                                                         "]+[\\r\\n/]*|" SPACES};
static patterns tiny_aya = {THREES "[" DIGIT "]++(?![" L M N "\\p{Pc}])",
                            CASED_WORD(SUFFIX_ANY_CASE "?") "[" N "]{1,3}| ?[^" W L N
                                                            "]+[\\r\\n/]*|" SPACES};
static patterns jais2 = {SUFFIX_ANY_CASE "|" WORD "|[" N "]{1,3}|" SIGNS "|[" W "]*[\\r\\n]+"
                                         "|[" W "]{512}" NO_BLANK_NEXT "|[" W "]{256}" NO_BLANK_NEXT
                                         "|[" W "]{128}" NO_BLANK_NEXT "|[" W "]{64}" NO_BLANK_NEXT
                                         "|[" W "]{32}" NO_BLANK_NEXT "|[" W "]{16}" NO_BLANK_NEXT
                                         "|[" W "]{8}" NO_BLANK_NEXT "|[" W "]{4}" NO_BLANK_NEXT
                                         "|[" W "]{1,2}" NO_BLANK_NEXT "|[" W "]"};
static patterns youtu = {
    "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+"
    "|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}"
    "\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+"
    "|[\\x{3105}-\\x{312F}]+|[" CJK_AND_KANA "]+",
    CASED_WORD(SUFFIX_ANY_CASE "?") "[" N "]| ?[^" W L N "]+[\\r\\n/]*|" SPACES};
static patterns chameleon = {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z",     "[\\t\\n]|    |  ",
                             "[" N "]",           "[" P "!-/:-@\\[-`{-~]", GPT2};
static patterns kimi = {KIMI};
static patterns superbpe = {"[" N "]+", THREES_ATTACHED "[" DIGIT "]++"};
static patterns bailing = {"'(?i:[sdmt]|ll|ve|re)|" WORD "|[" N "]|" SIGNS "|[" W "]*[\\r\\n]|[" W
                           "]+" NO_BLANK_NEXT "|[" W "]+"};
static patterns seed_coder = {SUFFIX_ANY_CASE "|" WORD "|[" N "]| ?[^" W L N "\\r\\n]+|" SPACES};
static patterns ufakzeka = {WORD "|[" N "]|" SIGNS "|" SPACES};
static patterns afmoe = {
    THREES "[" N "]++",
    "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}"
    "\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{E7F}\\x{E80}-\\x{EFF}"
    "\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}"
    "\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+",
    DEEPSEEK3};
static patterns lines = {"[^\\n]+|\\n+"};
static patterns laguna = {"[^\\n]+|\\n+", QWEN2};
static patterns exaone_moe = {SUFFIX_ANY_CASE "|[^\\r\\n" L N "]?[" L "][" M "]*+(?: ?[" L "][" M
                                              "]*+)*+|[" N "]| ?[^" W L N "]+[\\r\\n/]?|[" W
                                              "]*[\\r\\n]|[" W "]+" NO_BLANK_NEXT "|[" W "]+"};
static patterns minicpm5 = {"[" N "]{1,3}", SUFFIX_ANY_CASE "|" WORD "|[" N "]+|" SIGNS "|" SPACES};

/* ---- names ---- */

typedef struct pre_row {
    const char *name;
    const char *const *patterns;
    unsigned flags;
} pre_row;

#define WHOLE SPN_TOK_PRE_IGNORE_MERGES
#define BOS SPN_TOK_PRE_ADD_BOS

static const pre_row rows[] = {
    {"default", standard, 0},
    {"llama3", llama3, WHOLE | BOS},
    {"llama-v3", llama3, WHOLE | BOS},
    {"llama-bpe", llama3, WHOLE | BOS},
    {"falcon3", llama3, WHOLE | BOS},
    {"falcon-h1", llama3, WHOLE | BOS},
    {"pixtral", llama3, WHOLE | BOS},
    {"midm-2.0", llama3, WHOLE | BOS},
    {"lfm2", llama3, WHOLE | BOS},
    {"jina-v5-nano", llama3, WHOLE | BOS},
    {"dbrx", llama3, 0},
    {"smaug-bpe", llama3, 0},
    {"chatglm-bpe", llama3, SPN_TOK_PRE_NO_BOS},
    {"glm4", llama3, SPN_TOK_PRE_NO_BOS},
    {"minicpm5", minicpm5, WHOLE},
    {"jais-2", jais2, 0},
    {"deepseek-llm", deepseek_llm, 0},
    {"deepseek-coder", deepseek_coder, 0},
    {"deepseek-v3", deepseek3, 0},
    {"hunyuan-dense", deepseek3, 0},
    {"joyai-llm", deepseek3, 0},
    {"hy_v4", deepseek3, 0},
    {"spark2_5", spark25, 0},
    {"youtu", youtu, WHOLE},
    {"falcon", falcon, 0},
    {"starcoder", starcoder, 0},
    {"refact", starcoder, 0},
    {"command-r", starcoder, 0},
    {"smollm", starcoder, 0},
    {"codeshell", starcoder, 0},
    {"exaone", starcoder, 0},
    {"minerva-7b", starcoder, 0},
    {"mellum2", starcoder, 0},
    {"gpt-2", gpt2, 0},
    {"phi-2", gpt2, 0},
    {"mpt", gpt2, 0},
    {"olmo", gpt2, 0},
    {"jais", gpt2, 0},
    {"trillion", gpt2, 0},
    {"granite-docling", gpt2, 0},
    {"exaone4", gpt2, 0},
    {"jina-es", gpt2, 0},
    {"jina-de", gpt2, 0},
    {"jina-v1-en", gpt2, 0},
    {"jina-v2-es", gpt2, 0},
    {"jina-v2-de", gpt2, 0},
    {"jina-v2-code", gpt2, 0},
    {"roberta-bpe", gpt2, 0},
    {"gigachat", gpt2, 0},
    {"a.x-4.0", gpt2, 0},
    {"mellum", gpt2, 0},
    {"modern-bert", gpt2, 0},
    {"qwen2", qwen2, 0},
    {"deepseek-r1-qwen", qwen2, 0},
    {"kormo", qwen2, 0},
    {"f2llmv2", qwen2, 0},
    {"megrez", qwen2, 0},
    {"stablelm2", qwen2, 0},
    {"hunyuan", qwen2, 0},
    {"solar-open", qwen2, 0},
    {"grok-2", qwen2, 0},
    {"qwen35", qwen35, 0},
    {"poro-chat", bloom, 0},
    {"bloom", bloom, 0},
    {"gpt3-finnish", bloom, 0},
    {"viking", viking, 0},
    {"tekken", tekken, WHOLE | BOS},
    {"chameleon", chameleon, BOS},
    {"gpt-4o", gpt4o, 0},
    {"llama4", gpt4o, 0},
    {"kanana2", gpt4o, 0},
    {"talkie", gpt4o, 0},
    {"minimax-m2", gpt4o, 0},
    {"granite-embed-multi-97m", gpt4o, WHOLE},
    {"tiny_aya", tiny_aya, 0},
    {"cohere2moe", tiny_aya, 0},
    {"kimi-k2", kimi, 0},
    {"superbpe", superbpe, 0},
    {"bailingmoe", bailing, 0},
    {"bailingmoe2", bailing, 0},
    {"llada-moe", bailing, 0},
    {"seed-coder", seed_coder, 0},
    {"ufakzeka", ufakzeka, 0},
    {"afmoe", afmoe, 0},
    {"laguna", laguna, 0},
    {"exaone-moe", exaone_moe, 0},
    {"gemma4", lines, SPN_TOK_PRE_RAW | SPN_TOK_PRE_FORCE_BOS | SPN_TOK_PRE_LINES},
    {"granite-embed-multi-311m", lines,
     SPN_TOK_PRE_RAW | SPN_TOK_PRE_FORCE_BOS | SPN_TOK_PRE_LINES},
    {"sarvam-moe", lines, SPN_TOK_PRE_RAW},
};

/* ---- compiled ---- */

#define MAX_STEPS (sizeof(patterns) / sizeof(const char *))

typedef struct step {
    pcre2_code *code;
    bool jit;
    char threes; /* 0, or the first byte of THREES or THREES_ATTACHED */
} step;

struct spn_tok_pre {
    unsigned flags;
    size_t n_steps;
    step steps[MAX_STEPS];
    pcre2_general_context *memory;
    atomic_bool lacked_memory; /* an allocation of PCRE2's failed */
};

static void *pcre2_alloc(size_t n_bytes, void *user) {
    void *block = spn_alloc(n_bytes);
    if (block == NULL) atomic_store(&((spn_tok_pre *)user)->lacked_memory, true);
    return block;
}

static void pcre2_release(void *block, void *user) {
    (void)user;
    spn_free(block);
}

static spn_status compile(spn_tok_pre *pre, pcre2_compile_context *context, const char *pattern,
                          spn_error *err) {
    step *s = &pre->steps[pre->n_steps];
    if (*pattern == *THREES || *pattern == *THREES_ATTACHED) s->threes = *pattern++;
    int code;
    size_t at;
    uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    s->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, context);
    if (s->code == NULL && code == PCRE2_ERROR_HEAP_FAILED)
        return SPN_NO_MEMORY(err, "the pre-tokenizer");
    if (s->code == NULL)
        return SPN_FAIL(err, TOKENIZER, "PCRE2 refuses a pre-tokenizer pattern: error %d at %zu",
                        code, at);
    pre->n_steps++;
    /* Where the system allows no new code, patterns are interpreted; where memory is short, they
     * are not. */
    s->jit = pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE) == 0;
    if (atomic_load(&pre->lacked_memory)) return SPN_NO_MEMORY(err, "the pre-tokenizer");
    return SPN_STATUS_OK;
}

static const pre_row *row_of(const char *name, size_t n) {
    for (size_t i = 0; i < SPN_COUNT(rows); i++)
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) return &rows[i];
    return NULL;
}

spn_status spn_tok_pre_open(spn_tok_pre **out, const char *name, size_t n, spn_error *err) {
    const pre_row *row = n == 0 ? &rows[0] : row_of(name, n);
    if (row == NULL)
        return SPN_FAIL(err, TOKENIZER, "the pre-tokenizer \"%.*s\" is not known",
                        (int)spn_min_size(n, 64), name);
    spn_tok_pre *pre = spn_alloc_zeroed(1, sizeof *pre);
    if (pre == NULL) return SPN_NO_MEMORY(err, "the pre-tokenizer");
    pre->flags = row->flags;
    pcre2_compile_context *context = NULL;
    spn_status status = SPN_STATUS_OK;
    pre->memory = pcre2_general_context_create(pcre2_alloc, pcre2_release, pre);
    if (pre->memory != NULL) context = pcre2_compile_context_create(pre->memory);
    if (context == NULL) status = SPN_NO_MEMORY(err, "the pre-tokenizer");
    for (size_t i = 0; status == SPN_STATUS_OK && i < MAX_STEPS && row->patterns[i] != NULL; i++)
        status = compile(pre, context, row->patterns[i], err);
    if (context != NULL) pcre2_compile_context_free(context);
    if (status == SPN_STATUS_OK)
        *out = pre;
    else
        spn_tok_pre_close(pre);
    return status;
}

void spn_tok_pre_close(spn_tok_pre *pre) {
    if (pre == NULL) return;
    for (size_t i = 0; i < pre->n_steps; i++) pcre2_code_free(pre->steps[i].code);
    if (pre->memory != NULL) pcre2_general_context_free(pre->memory);
    spn_free(pre);
}

unsigned spn_tok_pre_flags(const spn_tok_pre *pre) { return pre->flags; }

/* ---- cutting ---- */

typedef struct split {
    spn_tok_run *run;
    const spn_tok_pre *pre;
    const char *view; /* the text, or its copy with U+FFFD for each byte that is not UTF-8 */
    const char *base;
    size_t at, end; /* what is left of the text, from base */
    bool copied;    /* view is a copy */
    spn_tok_word_fn word;
} split;

/* Hands out the next `len` bytes of the view as a word of the text itself. */
static spn_status leaf(split *s, size_t len, spn_error *err) {
    size_t start = s->at;
    if (!s->copied) s->at += len;
    while (s->copied && len > 0) {
        uint32_t code;
        size_t width = spn_tok_utf8_decode(s->base + s->at, s->end - s->at, &code);
        len -= width != 0 ? width : 3;
        s->at += width != 0 ? width : 1;
    }
    return s->word(s->run, s->base, start, s->at - start, err);
}

static spn_status cut(split *s, size_t step_no, const char *text, size_t len, spn_error *err);

/* A run of digits in threes from the right; all of the same byte length or not. */
static spn_status cut_threes(split *s, size_t step_no, const char *text, size_t len, size_t lead,
                             bool attached, spn_error *err) {
    size_t n = 0, from = 0;
    for (size_t i = lead; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    if (lead > 0 && !(attached && n % 3 != 0)) {
        SPN_TRY(cut(s, step_no, text, lead, err));
        from = lead;
    }
    for (size_t i = lead, left = n; i < len; left--) {
        i += spn_tok_utf8_lead(text + i, len - i);
        if ((left - 1) % 3 != 0) continue;
        SPN_TRY(cut(s, step_no, text + from, i - from, err));
        from = i;
    }
    return SPN_STATUS_OK;
}

static int match_once(split *s, const step *st, const char *text, size_t len, size_t from) {
    pcre2_match_data *data = s->run->match_data;
    pcre2_match_context *context = s->run->match_context;
    return st->jit ? pcre2_jit_match(st->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK,
                                     data, context)
                   : pcre2_match(st->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, data,
                                 context);
}

/* The JIT's first 32 KiB of stack are on the machine's own; more is made when it is asked for. */
static int match(split *s, const step *st, const char *text, size_t len, size_t from) {
    int found = match_once(s, st, text, len, from);
    if (found != PCRE2_ERROR_JIT_STACKLIMIT || s->run->jit_stack != NULL) return found;
    pcre2_jit_stack *stack =
        pcre2_jit_stack_create((size_t)32 << 10, (size_t)64 << 20, s->pre->memory);
    if (stack == NULL) return PCRE2_ERROR_NOMEMORY;
    s->run->jit_stack = stack;
    pcre2_jit_stack_assign(s->run->match_context, NULL, stack);
    return match_once(s, st, text, len, from);
}

/* Cuts text[0 .. len) with the patterns from step_no on. */
static spn_status cut(split *s, size_t step_no, const char *text, size_t len, spn_error *err) {
    if (step_no == s->pre->n_steps) return leaf(s, len, err);
    const step *st = &s->pre->steps[step_no];
    size_t done = 0;
    while (done < len) {
        int found = match(s, st, text, len, done);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found == PCRE2_ERROR_NOMEMORY) return SPN_NO_MEMORY(err, "the pre-tokenizer");
        if (found < 0) return SPN_FAIL(err, TOKENIZER, "the pre-tokenizer failed: PCRE2 %d", found);
        const size_t *span = pcre2_get_ovector_pointer(s->run->match_data);
        size_t first = span[0], end = span[1];
        if (end <= first) break;
        if (st->threes != 0) {
            SPN_TRY(cut_threes(s, step_no + 1, text + done, end - done, first - done,
                               st->threes == *THREES_ATTACHED, err));
        } else {
            if (first > done) SPN_TRY(cut(s, step_no + 1, text + done, first - done, err));
            SPN_TRY(cut(s, step_no + 1, text + first, end - first, err));
        }
        done = end;
    }
    return done < len ? cut(s, step_no + 1, text + done, len - done, err) : SPN_STATUS_OK;
}

static spn_status prepare(spn_tok_run *run, const spn_tok_pre *pre, spn_error *err) {
    if (run->match_context != NULL) return SPN_STATUS_OK;
    if (run->match_data == NULL) run->match_data = pcre2_match_data_create(1, pre->memory);
    if (run->match_data != NULL) run->match_context = pcre2_match_context_create(pre->memory);
    return run->match_context != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the pre-tokenizer");
}

static void copy_valid(spn_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t code;
        size_t width = spn_tok_utf8_decode(text + i, len - i, &code);
        if (width == 0)
            spn_buf_append(out, "\xEF\xBF\xBD", 3);
        else
            spn_buf_append(out, text + i, width);
        i += width != 0 ? width : 1;
    }
}

spn_status spn_tok_pre_split(spn_tok_run *run, const spn_tok_pre *pre, const char *base, size_t at,
                             size_t len, spn_tok_word_fn word, spn_error *err) {
    SPN_TRY(prepare(run, pre, err));
    split s = {.run = run, .pre = pre, .view = base + at, .base = base, .word = word};
    s.at = at;
    s.end = at + len;
    if (spn_tok_utf8_valid(base + at, len)) return cut(&s, 0, s.view, len, err);
    spn_buf copy = SPN_BUF(SPN_TOK_MAX_REWRITTEN);
    copy_valid(&copy, base + at, len);
    s.view = copy.data;
    s.copied = true;
    spn_status status =
        copy.failed ? SPN_NO_MEMORY(err, "the text") : cut(&s, 0, copy.data, copy.len, err);
    spn_buf_free(&copy);
    return status;
}

void spn_tok_pre_run_free(spn_tok_run *run) {
    if (run->match_data != NULL) pcre2_match_data_free(run->match_data);
    if (run->match_context != NULL) pcre2_match_context_free(run->match_context);
    if (run->jit_stack != NULL) pcre2_jit_stack_free(run->jit_stack);
}
