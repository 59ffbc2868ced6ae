//! Whatever PostgreSQL says, by SQLSTATE: which of it is "come back later". A trigger
//! says it in the middle of a transfer, as a full disk or a shutdown would.

use super::{Site, assert_unavailable, id_of};

/// Raises what `fault` says, and nothing where it is empty.
const TRIGGER: &str = "
    CREATE TABLE fault (state text NOT NULL);
    CREATE FUNCTION raise_fault() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE wanted text := (SELECT state FROM fault);
    BEGIN
        IF wanted IS NOT NULL THEN
            RAISE EXCEPTION 'out of order' USING ERRCODE = wanted;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER raise_fault AFTER INSERT ON transfers FOR EACH STATEMENT EXECUTE FUNCTION raise_fault();
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_passes_is_503_with_a_time_to_come_back_and_bugs_are_500() {
    let site = Site::open(&[("LOG_LEVEL", "error")]).await;
    site.superuser.batch_execute(TRIGGER).await.unwrap();
    let table = [
        (503, "08000"), // connection_exception
        (503, "08006"), // connection_failure
        (503, "53000"), // insufficient_resources
        (503, "53100"), // disk_full
        (503, "53200"), // out_of_memory
        (503, "53300"), // too_many_connections
        (503, "57P01"), // admin_shutdown
        (503, "57P02"), // crash_shutdown
        (503, "57P03"), // cannot_connect_now
        (503, "57014"), // query_canceled
        (503, "55P03"), // lock_not_available
        (503, "25006"), // read_only_sql_transaction
        (503, "40001"), // serialization_failure, however often it is tried
        (503, "40P01"), // deadlock_detected
        (503, "40003"), // statement_completion_unknown
        (503, "58030"), // io_error
        (500, "22012"), // division_by_zero
        (500, "42703"), // undefined_column
        (500, "P0001"), // raise_exception
        (500, "XX001"), // data_corrupted
    ];
    for (status, state) in table {
        site.superuser.execute("INSERT INTO fault VALUES ($1)", &[&state]).await.unwrap();
        let request = site.transfer(state);
        let answer = site.send(&request).await;
        if status == 503 {
            assert_unavailable(&answer, state);
        } else {
            assert_eq!(
                (answer.status, answer.code()),
                (500, "internal_error"),
                "{state}: {answer:?}"
            );
            assert_eq!(answer.header("retry-after"), "", "{state}: trying again would not help");
        }
        assert!(!answer.body.to_string().contains("out of order"), "{state}: {answer:?}");
        assert_eq!(site.posted(state).await, 0, "{state}: rolled back");
        site.superuser.execute("DELETE FROM fault", &[]).await.unwrap();
        id_of(&site.send(&request).await, state);
        assert_eq!(site.posted(state).await, 1, "{state}: and the key was free");
    }
}
