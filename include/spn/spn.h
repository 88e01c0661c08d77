/* spn.h - all of spn-native's public interface. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_SPN_H
#define SPN_SPN_H

#include "spn/catalog.h"
#include "spn/engine.h"
#include "spn/executor.h"
#include "spn/platform.h"
#include "spn/runtime.h"
#include "spn/status.h"
#include "spn/storage.h"

#endif
