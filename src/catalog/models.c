/* models.c - the catalogue: one table of known models and the files they were seen with.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sizes and SHA-256 are what the Hub lists for these files (`lfs.size`, `lfs.oid`); 0 and NULL
 * where they were not seen. Layers, heads and windows are from the files' own metadata. Ids that
 * were given out before their model existed stay, and say in `stands_for` what they lead to.
 */
#include <stddef.h>

#include "spn/catalog.h"

#define FILES(array) array, sizeof(array) / sizeof((array)[0])

// clang-format off
static const spn_known_file files_qwen3_0_6b[] = {
    {SPN_QUANTIZATION_Q8_0, "Qwen3-0.6B-Q8_0.gguf", UINT64_C(639446688),
     "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031", NULL},
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-0.6B-Q4_K_M.gguf", UINT64_C(396705472),
     "ac2d97712095a558e31573f62f466a3f9d93990898b0ec79d7c974c1780d524a", "unsloth/Qwen3-0.6B-GGUF"},
};
static const spn_known_file files_qwen3_1_7b[] = {
    {SPN_QUANTIZATION_Q8_0, "Qwen3-1.7B-Q8_0.gguf", UINT64_C(1834426016),
     "061b54daade076b5d3362dac252678d17da8c68f07560be70818cace6590cb1a", NULL},
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-1.7B-Q4_K_M.gguf", UINT64_C(1107409472),
     "b139949c5bd74937ad8ed8c8cf3d9ffb1e99c866c823204dc42c0d91fa181897", "unsloth/Qwen3-1.7B-GGUF"},
};
static const spn_known_file files_qwen3_4b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-4B-Q4_K_M.gguf", UINT64_C(2497280256),
     "7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5", NULL},
};
static const spn_known_file files_qwen3_4b_2507[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-4B-Instruct-2507-Q4_K_M.gguf", UINT64_C(2497281120),
     "3605803b982cb64aead44f6c1b2ae36e3acdb41d8e46c8a94c6533bc4c67e597", NULL},
};
static const spn_known_file files_qwen3_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-8B-Q4_K_M.gguf", UINT64_C(5027783488),
     "d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785", NULL},
    {SPN_QUANTIZATION_Q5_K_M, "Qwen3-8B-Q5_K_M.gguf", 0,
     NULL, NULL},
    {SPN_QUANTIZATION_Q6_K, "Qwen3-8B-Q6_K.gguf", 0,
     NULL, NULL},
    {SPN_QUANTIZATION_Q8_0, "Qwen3-8B-Q8_0.gguf", UINT64_C(8709518112),
     "408b955510e196121c1c375201744783b5c9a43c7956d73fc78df54c66e883d6", NULL},
};
static const spn_known_file files_qwen3_14b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-14B-Q4_K_M.gguf", UINT64_C(9001752960),
     "500a8806e85ee9c83f3ae08420295592451379b4f8cf2d0f41c15dffeb6b81f0", NULL},
};
static const spn_known_file files_qwen3_32b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-32B-Q4_K_M.gguf", UINT64_C(19762149024),
     "efd971561896866f0e910cce52761ca77b1b138090c7f15fe284676d57d1f689", NULL},
};
static const spn_known_file files_qwen3_30b_a3b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3-30B-A3B-Q4_K_M.gguf", UINT64_C(18556685824),
     "0d003f6662faee786ed5da3e31b29c978de5ae5d275c8794c606a7f3c01aa8f5", NULL},
};
static const spn_known_file files_qwen3_5_0_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen_Qwen3.5-0.8B-Q4_K_M.gguf", UINT64_C(579615840),
     "fb044e93939a70469c905781334f5de1e6c8b608ced6cbc8c9249bd4127d9526", NULL},
};
static const spn_known_file files_qwen3_5_4b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3.5-4B-Q4_K_M.gguf", UINT64_C(2740937888),
     "00fe7986ff5f6b463e62455821146049db6f9313603938a70800d1fb69ef11a4", NULL},
};
static const spn_known_file files_qwen3_5_9b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3.5-9B-Q4_K_M.gguf", UINT64_C(5680522464),
     "03b74727a860a56338e042c4420bb3f04b2fec5734175f4cb9fa853daf52b7e8", NULL},
};
static const spn_known_file files_qwen3_6_27b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3.6-27B-Q4_K_M.gguf", UINT64_C(16817244384),
     "5ed60d0af4650a854b1755bd392f9aef4872643dc25a254bc68043fa638392a0", NULL},
};
static const spn_known_file files_qwen3_6_35b_a3b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3.6-35B-A3B-UD-Q4_K_M.gguf", 0,
     "ac0e2c1189e055faa36eff361580e79c5bd6f8e76bffb4ce547f167d53e31a61", NULL},
};
static const spn_known_file files_qwen3_8_27b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3.8-27B-Q4_K_M.gguf", UINT64_C(18973870432),
     "31629f53165ab6a7dad8c9847dcfd1fdf55829dac1e6e748f4a68581b0033d34", NULL},
};
static const spn_known_file files_llama3_1_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", UINT64_C(4920739232),
     "7b064f5842bf9532c91456deda288a1b672397a54fa729aa665952863033557c", NULL},
    {SPN_QUANTIZATION_Q5_K_M, "Meta-Llama-3.1-8B-Instruct-Q5_K_M.gguf", 0,
     "14e10feba0c82a55da198dcd69d137206ad22d116a809926d27fa5f2398c69c7", NULL},
    {SPN_QUANTIZATION_Q8_0, "Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", 0,
     "9da71c45c90a821809821244d4971e5e5dfad7eb091f0b8ff0546392393b6283", NULL},
};
static const spn_known_file files_llama3_2_1b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", UINT64_C(807694464),
     "6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83", NULL},
};
static const spn_known_file files_llama3_2_3b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Llama-3.2-3B-Instruct-Q4_K_M.gguf", UINT64_C(2019377696),
     "6c1a2b41161032677be168d354123594c0e6e67d2b9227c84f296ad037c728ff", NULL},
};
static const spn_known_file files_llama4_scout[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Q4_K_M/Llama-4-Scout-17B-16E-Instruct-Q4_K_M-00001-of-00002.gguf", 0,
     NULL, NULL},
    {SPN_QUANTIZATION_Q3_K_S, "Llama-4-Scout-17B-16E-Instruct-Q3_K_S.gguf", UINT64_C(46740372480),
     NULL, NULL},
};
static const spn_known_file files_phi4_14b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "phi-4-Q4_K_M.gguf", UINT64_C(9053114816),
     "009aba717c09d4a35890c7d35eb59d54e1dba884c7c526e7197d9c13ab5911d9", NULL},
    {SPN_QUANTIZATION_Q5_K_M, "phi-4-Q5_K_M.gguf", 0,
     "b4b1ecedddfdd25a9c44c10a77bb118bcbb6a9004234286c7d4a4510c907f073", NULL},
    {SPN_QUANTIZATION_Q8_0, "phi-4-Q8_0.gguf", 0,
     "68efc525888cc34fc2cb539c2f4409653d57994e35b3a5735d2a59b871871bf3", NULL},
};
static const spn_known_file files_phi4_mini_3_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Phi-4-mini-instruct-Q4_K_M.gguf", UINT64_C(2491874272),
     "88c00229914083cd112853aab84ed51b87bdf6b9ce42f532d8c85c7c63b1730a", NULL},
};
static const spn_known_file files_gemma3_1b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-3-1b-it-Q4_K_M.gguf", UINT64_C(806058240),
     "8ccc5cd1f1b3602548715ae25a66ed73fd5dc68a210412eea643eb20eb75a135", NULL},
};
static const spn_known_file files_gemma3_4b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-3-4b-it-Q4_K_M.gguf", UINT64_C(2489757856),
     "882e8d2db44dc554fb0ea5077cb7e4bc49e7342a1f0da57901c0802ea21a0863", NULL},
    {SPN_QUANTIZATION_Q8_0, "gemma-3-4b-it-Q8_0.gguf", UINT64_C(4130226336),
     NULL, NULL},
};
static const spn_known_file files_gemma3_12b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-3-12b-it-Q4_K_M.gguf", UINT64_C(7300574976),
     "7bb69bff3f48a7b642355d64a90e481182a7794707b3133890646b1efa778ff5", NULL},
    {SPN_QUANTIZATION_Q8_0, "gemma-3-12b-it-Q8_0.gguf", 0,
     NULL, NULL},
};
static const spn_known_file files_gemma4_e2b[] = {
    {SPN_QUANTIZATION_Q4_0, "gemma-4-E2B-it-Q4_0.gguf", UINT64_C(2841481184),
     "8e30dff3ac4c8434c49a7036fa15564bdbb6044e42bf04550bf1a096ad7e6a52", NULL},
};
static const spn_known_file files_gemma4_e4b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-4-E4B-it-Q4_K_M.gguf", UINT64_C(5335289824),
     "90ce98129eb3e8cc57e62433d500c97c624b1e3af1fcc85dd3b55ad7e0313e9f", NULL},
};
static const spn_known_file files_gemma4_12b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-4-12b-it-Q4_K_M.gguf", UINT64_C(7121861440),
     "0a270ec9fe6b34f4a0d33992b6135117b484ebc4766ab76b51d4ae8c457e4c42", NULL},
};
static const spn_known_file files_gemma4_26b_a4b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "gemma-4-26B-A4B-it-Q4_K_M.gguf", UINT64_C(16796015136),
     "88f4a13b0bb95f031a7fad973e10854122fb67ebc34d214d39a2f65053046abc", NULL},
};
static const spn_known_file files_mistral_7b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf", UINT64_C(4372812000),
     "1270d22c0fbb3d092fb725d4d96c457b7b687a5f5a715abe1e818da303e562b6", NULL},
};
static const spn_known_file files_mistral_small_24b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Mistral-Small-3.2-24B-Instruct-2506-Q4_K_M.gguf", UINT64_C(14333922848),
     "a3cc56310807ed0d145eaf9f018ccda9ae7ad8edb41ec870aa2454b0d4700b3c", NULL},
};
static const spn_known_file files_ministral3_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Ministral-3-8B-Instruct-2512-Q4_K_M.gguf", UINT64_C(5198386720),
     "5dbc3647eb563b9f8d3c70ec3d906cce84b86bb35c5e0b8a36e7df3937ab7174", NULL},
};
static const spn_known_file files_deepseek_7b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", UINT64_C(4683073504),
     "731ece8d06dc7eda6f6572997feb9ee1258db0784827e642909d9b565641937b", NULL},
};
static const spn_known_file files_deepseek_r1_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "DeepSeek-R1-Distill-Llama-8B-Q4_K_M.gguf", UINT64_C(4920737216),
     "0addb1339a82385bcd973186cd80d18dcc71885d45eabd899781a118d03827d9", NULL},
};
static const spn_known_file files_deepseek_r1_14b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "DeepSeek-R1-Distill-Qwen-14B-Q4_K_M.gguf", UINT64_C(8988110240),
     "0b319bd0572f2730bfe11cc751defe82045fad5085b4e60591ac2cd2d9633181", NULL},
};
static const spn_known_file files_gpt_oss_20b[] = {
    {SPN_QUANTIZATION_MXFP4, "gpt-oss-20b-mxfp4.gguf", UINT64_C(12109566560),
     "be37a636aca0fc1aae0d32325f82f6b4d21495f06823b5fbc1898ae0303e9935", NULL},
};
static const spn_known_file files_smollm2_1_7b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "smollm2-1.7b-instruct-q4_k_m.gguf", UINT64_C(1055609536),
     "decd2598bc2c8ed08c19adc3c8fdd461ee19ed5708679d1c54ef54a5a30d4f33", NULL},
};
static const spn_known_file files_smollm3_3b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "SmolLM3-Q4_K_M.gguf", UINT64_C(1915305312),
     "8334b850b7bd46238c16b0c550df2138f0889bf433809008cc17a8b05761863e", NULL},
};
static const spn_known_file files_qwen3_vl_8b[] = {
    {SPN_QUANTIZATION_Q4_K_M, "Qwen3VL-8B-Instruct-Q4_K_M.gguf", UINT64_C(5027784800),
     "67d1659bfe71b89d50b45a4ad1a9e5b997e5bb16ce5da66a6a6167abd569e9e2", NULL},
    {SPN_QUANTIZATION_Q8_0, "Qwen3VL-8B-Instruct-Q8_0.gguf", UINT64_C(8709519456),
     NULL, NULL},
};
static const spn_known_file files_nomic_embed[] = {
    {SPN_QUANTIZATION_Q8_0, "nomic-embed-text-v1.5.Q8_0.gguf", UINT64_C(146146432),
     "3e24342164b3d94991ba9692fdc0dd08e3fd7362e0aacc396a9a5c54a544c3b7", NULL},
    {SPN_QUANTIZATION_Q4_K_M, "nomic-embed-text-v1.5.Q4_K_M.gguf", UINT64_C(84106624),
     "d4e388894e09cf3816e8b0896d81d265b55e7a9fff9ab03fe8bf4ef5e11295ac", NULL},
    {SPN_QUANTIZATION_F16, "nomic-embed-text-v1.5.f16.gguf", 0,
     NULL, NULL},
};
static const spn_known_file files_bge_m3[] = {
    {SPN_QUANTIZATION_Q8_0, "bge-m3-Q8_0.gguf", UINT64_C(634553760),
     "950f4a8e5e19477a6d3c26d2f162233c20002c601f75e4b002e3239997821167", NULL},
    {SPN_QUANTIZATION_Q4_K_M, "bge-m3-Q4_K_M.gguf", 0,
     NULL, NULL},
};
static const spn_known_file files_snowflake_arctic[] = {
    {SPN_QUANTIZATION_Q8_0, "snowflake-arctic-embed-l-v2.0-q8_0.gguf", UINT64_C(634554752),
     "0be8320ecb0fb6e205f0a1419ce3d468834bc44d02cbfda5fd171b3681b12597", NULL},
};
static const spn_known_file files_qwen3_embedding_0_6b[] = {
    {SPN_QUANTIZATION_Q8_0, "Qwen3-Embedding-0.6B-Q8_0.gguf", 0,
     "06507c7b42688469c4e7298b0a1e16deff06caf291cf0a5b278c308249c3e439", NULL},
};
static const spn_known_file files_embeddinggemma[] = {
    {SPN_QUANTIZATION_Q8_0, "embeddinggemma-300m-qat-Q8_0.gguf", UINT64_C(328577056),
     "6fa0c02a9c302be6f977521d399b4de3a46310a4f2621ee0063747881b673f67", NULL},
};
static const spn_known_file files_test_stories260k[] = {
    {SPN_QUANTIZATION_F32, "tinyllamas/stories260K.gguf", UINT64_C(1185376),
     "270cba1bd5109f42d03350f60406024560464db173c0e387d91f0426d3bd256d", NULL},
};
static const spn_known_file files_test_stories15m[] = {
    {SPN_QUANTIZATION_Q4_0, "tinyllamas/stories15M-q4_0.gguf", UINT64_C(19077344),
     "66967fbece6dbe97886593fdbb73589584927e29119ec31f08090732d1861739", NULL},
};
static const spn_known_file projector_vl = {
    SPN_QUANTIZATION_F16, "mmproj-Qwen3VL-8B-Instruct-F16.gguf", UINT64_C(1159029824),
    "ca524100ebf825c9a870db1c580d03879e0da0ab2541697e2458e64891cf9d38", NULL};
static const spn_known_file projector_g4 = {
    SPN_QUANTIZATION_F16, "mmproj-model-f16.gguf", UINT64_C(851251104),
    "8c0fb064b019a6972856aaae2c7e4792858af3ca4561be2dbf649123ba6c40cb", NULL};
static const spn_known_file projector_g12 = {
    SPN_QUANTIZATION_F16, "mmproj-model-f16.gguf", 0,
    "30c02d056410848227001830866e0a269fcc28aaf8ca971bded494003de9f5a5", NULL};

/* id, name, type, architecture, repository, files, projector, billions of parameters (and active
 * ones), least GiB, licence, description, what it stands for; layers, KV heads, their width, n_embd,
 * context trained, window, one layer in so many without it */
static const spn_known_model models[] = {
    {"qwen3:0.6b", "Qwen3 0.6B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-0.6B-GGUF", FILES(files_qwen3_0_6b), NULL,
     0.6, 0, 2, "apache-2.0", "Very small; answers on any machine",
     NULL,
     28, 8, 128, 1024, 40960, 0, 0},
    {"qwen3:1.7b", "Qwen3 1.7B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-1.7B-GGUF", FILES(files_qwen3_1_7b), NULL,
     1.7, 0, 3, "apache-2.0", "Small, with a thinking mode",
     NULL,
     28, 8, 128, 2048, 40960, 0, 0},
    {"qwen3:4b", "Qwen3 4B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-4B-GGUF", FILES(files_qwen3_4b), NULL,
     4.0, 0, 4, "apache-2.0", "Good for laptops, with a thinking mode",
     NULL,
     36, 8, 128, 2560, 40960, 0, 0},
    {"qwen3:4b-2507", "Qwen3 4B Instruct 2507", SPN_MODEL_TYPE_TEXT, "qwen3",
     "unsloth/Qwen3-4B-Instruct-2507-GGUF", FILES(files_qwen3_4b_2507), NULL,
     4.0, 0, 4, "apache-2.0", "Newer 4B without thinking; long context",
     NULL,
     36, 8, 128, 2560, 262144, 0, 0},
    {"qwen3:8b", "Qwen3 8B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-8B-GGUF", FILES(files_qwen3_8b), NULL,
     8.2, 0, 6, "apache-2.0", "Balance of speed and quality for most work",
     NULL,
     36, 8, 128, 4096, 40960, 0, 0},
    {"qwen3:14b", "Qwen3 14B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-14B-GGUF", FILES(files_qwen3_14b), NULL,
     14.8, 0, 10, "apache-2.0", "Stronger reasoning for 16 GB machines",
     NULL,
     40, 8, 128, 5120, 40960, 0, 0},
    {"qwen3:32b", "Qwen3 32B", SPN_MODEL_TYPE_TEXT, "qwen3",
     "Qwen/Qwen3-32B-GGUF", FILES(files_qwen3_32b), NULL,
     32.8, 0, 20, "apache-2.0", "High quality reasoning; wants 24 GB and more",
     NULL,
     64, 8, 128, 5120, 40960, 0, 0},
    {"qwen3:30b-a3b", "Qwen3 30B-A3B", SPN_MODEL_TYPE_TEXT, "qwen3moe",
     "Qwen/Qwen3-30B-A3B-GGUF", FILES(files_qwen3_30b_a3b), NULL,
     30.5, 3.3, 18, "apache-2.0", "Mixture of experts: large, yet as quick as a 3B",
     NULL,
     48, 4, 128, 2048, 40960, 0, 0},
    {"qwen3.5:0.8b", "Qwen3.5 0.8B", SPN_MODEL_TYPE_TEXT, "qwen35",
     "bartowski/Qwen_Qwen3.5-0.8B-GGUF", FILES(files_qwen3_5_0_8b), NULL,
     0.8, 0, 2, "apache-2.0", "Hybrid attention; very small",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"qwen3.5:4b", "Qwen3.5 4B", SPN_MODEL_TYPE_TEXT, "qwen35",
     "unsloth/Qwen3.5-4B-GGUF", FILES(files_qwen3_5_4b), NULL,
     4.0, 0, 4, "apache-2.0", "Hybrid attention; for laptops",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"qwen3.5:9b", "Qwen3.5 9B", SPN_MODEL_TYPE_TEXT, "qwen35",
     "unsloth/Qwen3.5-9B-GGUF", FILES(files_qwen3_5_9b), NULL,
     9.0, 0, 7, "apache-2.0", "Hybrid attention; general work",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"qwen3.6:27b", "Qwen3.6 27B", SPN_MODEL_TYPE_TEXT, "qwen35",
     "unsloth/Qwen3.6-27B-GGUF", FILES(files_qwen3_6_27b), NULL,
     27, 0, 17, "apache-2.0", "Dense, strong at code and tools",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"qwen3.6:35b-a3b", "Qwen3.6 35B-A3B", SPN_MODEL_TYPE_TEXT, "qwen35moe",
     "unsloth/Qwen3.6-35B-A3B-GGUF", FILES(files_qwen3_6_35b_a3b), NULL,
     35, 3, 22, "apache-2.0", "Mixture of experts, 3B active",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"qwen3.8:27b", "Qwen3.8 27B", SPN_MODEL_TYPE_TEXT, "qwen35",
     "ggml-org/Qwen3.8-27B-GGUF", FILES(files_qwen3_8_27b), NULL,
     27, 0, 19, "apache-2.0", "Dense, strong at code and tools",
     NULL,
     0, 0, 0, 0, 262144, 0, 0},
    {"llama3.1:8b", "Llama 3.1 8B Instruct", SPN_MODEL_TYPE_TEXT, "llama",
     "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", FILES(files_llama3_1_8b), NULL,
     8.03, 0, 6, "llama3.1", "The widely used 8B with a 128k context",
     NULL,
     32, 8, 128, 4096, 131072, 0, 0},
    {"llama3.2:1b", "Llama 3.2 1B Instruct", SPN_MODEL_TYPE_TEXT, "llama",
     "bartowski/Llama-3.2-1B-Instruct-GGUF", FILES(files_llama3_2_1b), NULL,
     1.24, 0, 2, "llama3.2", "Very small, for summaries and rewriting",
     NULL,
     16, 8, 64, 2048, 131072, 0, 0},
    {"llama3.2:3b", "Llama 3.2 3B Instruct", SPN_MODEL_TYPE_TEXT, "llama",
     "bartowski/Llama-3.2-3B-Instruct-GGUF", FILES(files_llama3_2_3b), NULL,
     3.21, 0, 3, "llama3.2", "Small, follows instructions well",
     NULL,
     28, 8, 128, 3072, 131072, 0, 0},
    {"llama4:8b", "Llama 3.1 8B Instruct", SPN_MODEL_TYPE_TEXT, "llama",
     "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", FILES(files_llama3_1_8b), NULL,
     8.03, 0, 6, "llama3.1", "The nearest Llama of that size",
     "no Llama 4 of 8B was ever published; this is llama3.1:8b",
     32, 8, 128, 4096, 131072, 0, 0},
    {"llama4:scout", "Llama 4 Scout 17B-16E", SPN_MODEL_TYPE_TEXT, "llama4",
     "unsloth/Llama-4-Scout-17B-16E-Instruct-GGUF", FILES(files_llama4_scout), NULL,
     109, 17, 64, "llama4", "Mixture of experts for machines with 80 GB",
     NULL,
     48, 8, 128, 5120, 10485760, 8192, 4},
    {"phi4:14b", "Phi-4 14B", SPN_MODEL_TYPE_TEXT, "phi3",
     "bartowski/phi-4-GGUF", FILES(files_phi4_14b), NULL,
     14.7, 0, 10, "mit", "Microsoft's reasoning model",
     NULL,
     40, 10, 128, 5120, 16384, 0, 0},
    {"phi4-mini:3.8b", "Phi-4 Mini Instruct", SPN_MODEL_TYPE_TEXT, "phi3",
     "unsloth/Phi-4-mini-instruct-GGUF", FILES(files_phi4_mini_3_8b), NULL,
     3.8, 0, 3, "mit", "Small Phi with a 128k context",
     NULL,
     32, 8, 128, 3072, 131072, 0, 0},
    {"gemma3:1b", "Gemma 3 1B", SPN_MODEL_TYPE_TEXT, "gemma3",
     "ggml-org/gemma-3-1b-it-GGUF", FILES(files_gemma3_1b), NULL,
     1.0, 0, 1, "gemma", "Very small, many languages",
     NULL,
     26, 1, 256, 1152, 32768, 512, 6},
    {"gemma3:4b", "Gemma 3 4B", SPN_MODEL_TYPE_TEXT, "gemma3",
     "ggml-org/gemma-3-4b-it-GGUF", FILES(files_gemma3_4b), NULL,
     4.3, 0, 3, "gemma", "Small, many languages",
     NULL,
     34, 4, 256, 2560, 131072, 1024, 6},
    {"gemma3:12b", "Gemma 3 12B", SPN_MODEL_TYPE_TEXT, "gemma3",
     "ggml-org/gemma-3-12b-it-GGUF", FILES(files_gemma3_12b), NULL,
     12.2, 0, 8, "gemma", "Mid-size, many languages",
     NULL,
     48, 8, 256, 3840, 131072, 1024, 6},
    {"gemma4:e2b", "Gemma 4 E2B", SPN_MODEL_TYPE_TEXT, "gemma4",
     "ggml-org/gemma-4-E2B-it-GGUF", FILES(files_gemma4_e2b), NULL,
     4.6, 2, 4, "apache-2.0", "For phones and small machines",
     NULL,
     0, 0, 0, 0, 131072, 0, 0},
    {"gemma4:e4b", "Gemma 4 E4B", SPN_MODEL_TYPE_TEXT, "gemma4",
     "ggml-org/gemma-4-E4B-it-GGUF", FILES(files_gemma4_e4b), NULL,
     7.5, 4, 6, "apache-2.0", "For laptops",
     NULL,
     0, 0, 0, 0, 131072, 0, 0},
    {"gemma4:12b", "Gemma 4 12B", SPN_MODEL_TYPE_TEXT, "gemma4",
     "unsloth/gemma-4-12b-it-GGUF", FILES(files_gemma4_12b), NULL,
     12, 0, 8, "apache-2.0", "Mid-size",
     NULL,
     0, 0, 0, 0, 131072, 0, 0},
    {"gemma4:26b-a4b", "Gemma 4 26B-A4B", SPN_MODEL_TYPE_TEXT, "gemma4",
     "ggml-org/gemma-4-26B-A4B-it-GGUF", FILES(files_gemma4_26b_a4b), NULL,
     26, 4, 17, "apache-2.0", "Mixture of experts, 4B active",
     NULL,
     0, 0, 0, 0, 131072, 0, 0},
    {"mistral:7b", "Mistral 7B Instruct v0.3", SPN_MODEL_TYPE_TEXT, "llama",
     "bartowski/Mistral-7B-Instruct-v0.3-GGUF", FILES(files_mistral_7b), NULL,
     7.25, 0, 5, "apache-2.0", "The classic 7B",
     NULL,
     32, 8, 128, 4096, 32768, 0, 0},
    {"mistral-small:24b", "Mistral Small 3.2 24B", SPN_MODEL_TYPE_TEXT, "llama",
     "unsloth/Mistral-Small-3.2-24B-Instruct-2506-GGUF", FILES(files_mistral_small_24b), NULL,
     23.6, 0, 15, "apache-2.0", "Strong at instructions and tools",
     NULL,
     40, 8, 128, 5120, 131072, 0, 0},
    {"ministral3:8b", "Ministral 3 8B Instruct", SPN_MODEL_TYPE_TEXT, "mistral3",
     "unsloth/Ministral-3-8B-Instruct-2512-GGUF", FILES(files_ministral3_8b), NULL,
     8.5, 0, 6, "apache-2.0", "For local machines; long context",
     NULL,
     34, 8, 128, 4096, 262144, 0, 0},
    {"deepseek:7b", "DeepSeek R1 Distill Qwen 7B", SPN_MODEL_TYPE_TEXT, "qwen2",
     "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF", FILES(files_deepseek_7b), NULL,
     7.62, 0, 5, "mit", "Thinks step by step",
     "no DeepSeek V3 of 7B was ever published; this is deepseek-r1:7b",
     28, 4, 128, 3584, 131072, 0, 0},
    {"deepseek-r1:7b", "DeepSeek R1 Distill Qwen 7B", SPN_MODEL_TYPE_TEXT, "qwen2",
     "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF", FILES(files_deepseek_7b), NULL,
     7.62, 0, 5, "mit", "Thinks step by step",
     NULL,
     28, 4, 128, 3584, 131072, 0, 0},
    {"deepseek-r1:8b", "DeepSeek R1 Distill Llama 8B", SPN_MODEL_TYPE_TEXT, "llama",
     "unsloth/DeepSeek-R1-Distill-Llama-8B-GGUF", FILES(files_deepseek_r1_8b), NULL,
     8.03, 0, 6, "mit", "Thinks step by step",
     NULL,
     32, 8, 128, 4096, 131072, 0, 0},
    {"deepseek-r1:14b", "DeepSeek R1 Distill Qwen 14B", SPN_MODEL_TYPE_TEXT, "qwen2",
     "bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF", FILES(files_deepseek_r1_14b), NULL,
     14.8, 0, 10, "mit", "Thinks step by step",
     NULL,
     48, 8, 128, 5120, 131072, 0, 0},
    {"gpt-oss:20b", "gpt-oss 20B", SPN_MODEL_TYPE_TEXT, "gpt-oss",
     "ggml-org/gpt-oss-20b-GGUF", FILES(files_gpt_oss_20b), NULL,
     20.9, 3.6, 12, "apache-2.0", "OpenAI's open mixture of experts",
     NULL,
     24, 8, 64, 2880, 131072, 128, 2},
    {"smollm2:1.7b", "SmolLM2 1.7B Instruct", SPN_MODEL_TYPE_TEXT, "llama",
     "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", FILES(files_smollm2_1_7b), NULL,
     1.71, 0, 2, "apache-2.0", "Small, fully open",
     NULL,
     24, 32, 64, 2048, 8192, 0, 0},
    {"smollm3:3b", "SmolLM3 3B", SPN_MODEL_TYPE_TEXT, "smollm3",
     "ggml-org/SmolLM3-3B-GGUF", FILES(files_smollm3_3b), NULL,
     3.08, 0, 3, "apache-2.0", "Small, fully open, with a thinking mode",
     NULL,
     36, 4, 128, 2048, 65536, 0, 0},
    {"qwen3-vl:8b", "Qwen3-VL 8B Instruct", SPN_MODEL_TYPE_VISION, "qwen3vl",
     "Qwen/Qwen3-VL-8B-Instruct-GGUF", FILES(files_qwen3_vl_8b), &projector_vl,
     8.2, 0, 7, "apache-2.0", "Reads images and documents",
     NULL,
     36, 8, 128, 4096, 262144, 0, 0},
    {"qwen3-vision:8b", "Qwen3-VL 8B Instruct", SPN_MODEL_TYPE_VISION, "qwen3vl",
     "Qwen/Qwen3-VL-8B-Instruct-GGUF", FILES(files_qwen3_vl_8b), &projector_vl,
     8.2, 0, 7, "apache-2.0", "Reads images and documents",
     "the model's own name is qwen3-vl:8b",
     36, 8, 128, 4096, 262144, 0, 0},
    {"llama4-vision:8b", "Qwen3-VL 8B Instruct", SPN_MODEL_TYPE_VISION, "qwen3vl",
     "Qwen/Qwen3-VL-8B-Instruct-GGUF", FILES(files_qwen3_vl_8b), &projector_vl,
     8.2, 0, 7, "apache-2.0", "Reads images and documents",
     "no Llama 4 of 8B was ever published; the nearest vision model is qwen3-vl:8b",
     36, 8, 128, 4096, 262144, 0, 0},
    {"phi4-vision:14b", "Gemma 3 12B with images", SPN_MODEL_TYPE_VISION, "gemma3",
     "ggml-org/gemma-3-12b-it-GGUF", FILES(files_gemma3_12b), &projector_g12,
     12.2, 0, 9, "gemma", "Reads images, many languages",
     "no Phi-4 vision model of 14B was ever published; the nearest is gemma3-vision:12b",
     48, 8, 256, 3840, 131072, 1024, 6},
    {"gemma3-vision:4b", "Gemma 3 4B with images", SPN_MODEL_TYPE_VISION, "gemma3",
     "ggml-org/gemma-3-4b-it-GGUF", FILES(files_gemma3_4b), &projector_g4,
     4.3, 0, 4, "gemma", "Reads images, many languages",
     NULL,
     34, 4, 256, 2560, 131072, 1024, 6},
    {"gemma3-vision:12b", "Gemma 3 12B with images", SPN_MODEL_TYPE_VISION, "gemma3",
     "ggml-org/gemma-3-12b-it-GGUF", FILES(files_gemma3_12b), &projector_g12,
     12.2, 0, 9, "gemma", "Reads images, many languages",
     NULL,
     48, 8, 256, 3840, 131072, 1024, 6},
    {"nomic-embed", "Nomic Embed Text v1.5", SPN_MODEL_TYPE_EMBEDDING, "nomic-bert",
     "nomic-ai/nomic-embed-text-v1.5-GGUF", FILES(files_nomic_embed), NULL,
     0.137, 0, 1, "apache-2.0", "768 dimensions, English",
     NULL,
     12, 0, 0, 768, 2048, 0, 0},
    {"bge-m3", "BGE-M3", SPN_MODEL_TYPE_EMBEDDING, "bert",
     "gpustack/bge-m3-GGUF", FILES(files_bge_m3), NULL,
     0.568, 0, 1, "mit", "1,024 dimensions, many languages",
     NULL,
     24, 0, 0, 1024, 8192, 0, 0},
    {"snowflake-arctic", "Snowflake Arctic Embed L v2.0", SPN_MODEL_TYPE_EMBEDDING, "bert",
     "Casual-Autopsy/snowflake-arctic-embed-l-v2.0-gguf", FILES(files_snowflake_arctic), NULL,
     0.568, 0, 1, "apache-2.0", "1,024 dimensions, many languages",
     "Snowflake published no GGUF of the medium model; this is arctic-embed2-l",
     24, 0, 0, 1024, 8192, 0, 0},
    {"arctic-embed2-l", "Snowflake Arctic Embed L v2.0", SPN_MODEL_TYPE_EMBEDDING, "bert",
     "Casual-Autopsy/snowflake-arctic-embed-l-v2.0-gguf", FILES(files_snowflake_arctic), NULL,
     0.568, 0, 1, "apache-2.0", "1,024 dimensions, many languages",
     NULL,
     24, 0, 0, 1024, 8192, 0, 0},
    {"qwen3-embedding:0.6b", "Qwen3 Embedding 0.6B", SPN_MODEL_TYPE_EMBEDDING, "qwen3",
     "Qwen/Qwen3-Embedding-0.6B-GGUF", FILES(files_qwen3_embedding_0_6b), NULL,
     0.6, 0, 1, "apache-2.0", "1,024 dimensions, many languages",
     NULL,
     28, 8, 128, 1024, 32768, 0, 0},
    {"embeddinggemma", "EmbeddingGemma 300M", SPN_MODEL_TYPE_EMBEDDING, "gemma-embedding",
     "ggml-org/embeddinggemma-300m-qat-q8_0-GGUF", FILES(files_embeddinggemma), NULL,
     0.308, 0, 1, "gemma", "768 dimensions, many languages",
     NULL,
     24, 1, 256, 768, 2048, 512, 6},
    {"test:stories260k", "Tiny stories 260K", SPN_MODEL_TYPE_TEXT, "llama",
     "ggml-org/models", FILES(files_test_stories260k), NULL,
     0.00026, 0, 1, "mit", "A toy for trying things out; not useful",
     NULL,
     5, 4, 8, 64, 512, 0, 0},
    {"test:stories15m", "Tiny stories 15M", SPN_MODEL_TYPE_TEXT, "llama",
     "ggml-org/models", FILES(files_test_stories15m), NULL,
     0.015, 0, 1, "mit", "A toy for trying things out; not useful",
     NULL,
     6, 6, 48, 288, 256, 0, 0},
};
// clang-format on

const spn_known_model *spn_known_models(size_t *n) {
    *n = sizeof models / sizeof models[0];
    return models;
}
