use engine::args;
use engine::db::Value;
use engine::setting::AnySetting;

/// Every setting with its value, as something to select from. Texts are bound, never written out.
pub(super) fn rows(settings: &[AnySetting]) -> (String, Vec<Value>) {
    let mut sorted = settings.to_vec();
    sorted.sort_by_key(|setting| (setting.category, setting.name));
    let mut args = Vec::with_capacity(4 * sorted.len());
    let mut lines = Vec::with_capacity(sorted.len());
    for (setting, id) in sorted.iter().zip(1..) {
        let n = args.len();
        lines.push(format!("({id}, ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
        args.extend(args![setting.category, setting.name, setting.help, setting.default]);
    }
    let source = format!(
        "(SELECT CAST(k.column1 AS BIGINT) AS id, k.column2 AS category, k.column3 AS name, k.column4 AS description, \
         k.column5 AS default_value, coalesce(s.value, k.column5) AS value FROM (VALUES {}) k \
         LEFT JOIN setting s ON s.category = k.column2 AND s.name = k.column3) c",
        lines.join(", ")
    );
    (source, args)
}
