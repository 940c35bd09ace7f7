//! Programs that one handler executes: every command once, with what it must give. Random ones are in `random/`.

use std::sync::Arc;

use serde_json::json;

use crate::stage::Stage;

pub async fn every_command_does_what_the_contract_says(stage: Arc<Stage>) {
    let (key, other) = (stage.key(), stage.key());
    let late = format!("{key}-late");
    let add = |value: i64| json!([{"op": "add", "name": "n", "value": value}, {"op": "step", "value": value}]);
    let program = json!([
        {"op": "set", "name": "a", "value": 5},
        {"op": "get", "name": "a"},                                                     // 5
        {"op": "add", "name": "a", "value": -2},
        {"op": "get", "name": "a"},                                                     // 8
        {"op": "set", "name": "b", "value": 1},
        {"op": "clear", "name": "b"},
        {"op": "get", "name": "b"},
        {"op": "keys"},
        {"op": "sleep", "ms": 5},
        {"op": "step", "value": 10},                                                    // 18
        {"op": "flaky", "times": 1, "value": 100},                                      // 118
        {"op": "crash", "times": 1},
        {"op": "try", "body": [
            {"op": "step", "value": 1},                                                 // 119
            {"op": "fail", "code": 418, "message": "as asked"},
            {"op": "step", "value": 7},
        ]},                                                                             // 1119
        {"op": "call", "key": other, "program": add(1)},                                // 1120
        {"op": "send", "key": late, "program": add(2)},
        {"op": "send", "key": late, "program": add(3), "ms": 50},
        {"op": "attach", "key": other, "program": add(4)},                              // 1124
        {"op": "idempotent", "key": other, "idempotencyKey": key, "program": add(8)},   // 1140
        {"op": "cancel", "key": other},                                                 // 1141
        {"op": "awakeable", "key": other, "value": 20},                                 // 1161
        {"op": "rejected", "key": other},                                               // 1162
        {"op": "try", "body": [
            {"op": "call", "key": other, "program": [{"op": "fail", "code": 400, "message": "there"}]},
        ]},                                                                             // 2162
        {"op": "parallel", "branches": [
            {"op": "sleep", "ms": 5},
            {"op": "step", "value": 1},
            {"op": "call", "key": other, "program": add(16)},
            {"op": "attach", "key": other, "program": add(32)},
            {"op": "awakeable", "key": other, "value": 1},
        ]},                                                                             // 2212
        {"op": "race", "branches": [
            {"op": "sleep", "ms": 30},
            {"op": "awakeable", "key": other, "value": 1},
            {"op": "call", "key": other, "program": add(64)},
        ]},                                                                             // 2277
    ]);
    assert_eq!(stage.server.call(&format!("Interpreter/{key}/run"), program).await.unwrap(), 2277);
    assert_eq!(stage.server.query(&format!("Interpreter/{key}/state")).await.unwrap(), json!({"a": 3}));
    let sum = 1 + 4 + 8 + 16 + 32 + 64;
    assert_eq!(stage.server.query(&format!("Interpreter/{other}/state")).await.unwrap(), json!({"n": sum}));
    stage.until(&format!("Interpreter/{late}/state"), json!({"n": 5})).await;
    let fails = json!([{"op": "set", "name": "kept", "value": 1}, {"op": "fail", "code": 418, "message": "tea"}]);
    assert_eq!(stage.fails(&format!("Interpreter/{late}/run"), fails).await, (418, "tea".to_owned()));
    assert_eq!(stage.server.query(&format!("Interpreter/{late}/state")).await.unwrap(), json!({"kept": 1, "n": 5}));
}
