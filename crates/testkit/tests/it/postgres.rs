//! Databases of one's own, and the ways they go away.

use dynowatch_testkit::postgres::TestDatabase;
use sqlx::{Connection, PgConnection};

async fn answers(url: &str) -> sqlx::Result<i32> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await
}

#[tokio::test]
async fn a_database_is_empty_and_its_own() {
    let (first, second) = (TestDatabase::create().await, TestDatabase::create().await);
    let mut connection = PgConnection::connect(first.url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (x BIGINT)").execute(&mut connection).await.unwrap();
    let mut other = PgConnection::connect(second.url()).await.unwrap();
    assert!(sqlx::raw_sql("SELECT x FROM t").execute(&mut other).await.is_err());

    // Dropped although somebody is connected, explicitly and by going out of scope.
    let (first_url, second_url) = (first.url().to_owned(), second.url().to_owned());
    first.close().await;
    drop(second);
    assert!(answers(&first_url).await.is_err());
    assert!(answers(&second_url).await.is_err());
}

#[tokio::test]
async fn a_proxied_database_goes_away_and_comes_back() {
    let database = TestDatabase::proxied().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();

    database.cut().await;
    assert!(sqlx::raw_sql("SELECT 1").execute(&mut connection).await.is_err(), "the connection is gone");
    match answers(database.url()).await {
        Err(sqlx::Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(answers(&database.direct_url()).await.unwrap(), 1);

    database.restore().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();

    database.stall().await;
    let direct_url = database.direct_url();
    {
        let query = sqlx::raw_sql("SELECT 1").execute(&mut connection);
        tokio::pin!(query);
        tokio::select! {
            biased;
            passed = &mut query => panic!("passed while stalled: {passed:?}"),
            direct = answers(&direct_url) => assert_eq!(direct.unwrap(), 1),
        }
        database.restore().await;
        query.await.unwrap();
    }
    assert_eq!(answers(database.url()).await.unwrap(), 1);
    database.cut().await;
    database.cut().await;
    database.restore().await;
    assert_eq!(answers(database.url()).await.unwrap(), 1);
}
